"""The page for people who ask no database: what the tables say, in sentences, plots and tables, as one HTML file.

Owns which figures are shown, their drawing and the page. Never writes to the database, never asks GitHub or S3, and
puts no script into the page.
"""
