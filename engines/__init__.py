"""Owns what differs between databases: connecting, transactions, who is alive, space. Today that is SQLite alone.

Never knows a table.
"""
