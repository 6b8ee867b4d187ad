"""What is gone from GitHub, and what no ingest brought: all that GitHub shows against all that is known.

Owns what is believed of a difference, and what is done about it. Never HTTP details, argparse, printing.
"""
