"""Owns what the tables are, whichever engine they lie in: their statements, their columns, their views.

Never opens a database, and runs nothing.
"""
