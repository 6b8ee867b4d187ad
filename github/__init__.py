"""Owns all that speaks to GitHub, or understands what it says: questions, answers, limits, pages, streams.

Never touches the database, and prints nothing.
"""
