"""One module a command: `run` builds the objects, shows the result and returns the exit code.

The keyword arguments of `run` are the names that options.py gives. main.py imports a command only when it runs, so that
--help, status and retry start without boto3 and requests.
"""
