"""Owns what a person meets: one module a command, and what only commands use (options, reports, signals, ...).

Each command's `run` takes the context and the options that commands/options.py names, and returns the exit code. Never
imported by what it starts: --help and `status` come without boto3 and requests.
"""
