"""Owns the leaves that all rooms stand on: clock, errors, logs, settings, times, records, read-ahead.

Never imports another room.
"""
