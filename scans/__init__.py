"""Owns the scans: which pages to ask GitHub for, and where an unfinished one goes on. A module for each kind of list.

Never opens the database, never prints.
"""
