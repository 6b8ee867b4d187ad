"""Owns what tells one stream from another: a module for each, and its line in this table.

Never asks GitHub, and knows neither queue nor archive.
"""

from github.streams import issues, pulls

STREAMS = {stream.name: stream for stream in (issues.STREAM, pulls.STREAM)}
OF_ITEM_TYPE = {stream.item_type: stream for stream in STREAMS.values()}
