"""Owns what is kept of scans: how far each stream of a repository was read, its names, its work list.

Every function joins the caller's transaction and never commits. Imports neither GitHub's rooms nor the queue's.
"""
