"""A server of the tests' for somebody who tries something: it prints the variables to set, and serves until stopped."""

import contextlib
import os
import shlex
import signal


def serve(server, variables):
    signal.signal(signal.SIGTERM, lambda signum, frame: os.kill(os.getpid(), signal.SIGINT))
    with contextlib.closing(server), contextlib.suppress(KeyboardInterrupt):
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        signal.pause()
