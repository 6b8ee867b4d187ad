"""What main.py does: parses the command line, runs one command of this room, turns errors into exit codes.

The options are in options.py, what is printed in reports.py.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from typing import Mapping, NoReturn, Sequence

import db
from commands import options, output
from commands.context import Context
from foundation import errors, logs, settings
from foundation.clock import SYSTEM_CLOCK, Clock
from foundation.errors import EXIT_CONFIGURATION, EXIT_FAILED, Interrupted, PipelineError

# What every command is given (commands/context.py); the rest are keyword arguments of its own.
COMMON_OPTIONS = ("db_path", "quiet", "as_json", "no_progress")
log = logging.getLogger("pipeline")


def main(
    argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None, clock: Clock = SYSTEM_CLOCK
) -> int:
    """Run one command and return its exit code. The one place where errors become a line and a code."""
    environ = os.environ if environ is None else environ
    arguments = vars(options.parse(sys.argv[1:] if argv is None else argv, environ))
    command = arguments.pop("command")
    log_format = arguments.pop("log_format")
    logs.set_up(logs.choice(verbose=arguments.pop("verbose"), quiet=arguments["quiet"], log_format=log_format), environ)
    context = Context(environ, clock, **{name: arguments.pop(name) for name in COMMON_OPTIONS})
    try:
        # Imported only now: --help, status and retry start without boto3 and requests.
        return int(importlib.import_module(f"commands.{command}").run(context, **arguments))
    except (PipelineError, Interrupted) as error:
        return _report(str(error), error.exit_code, environ)
    except (*db.Error, UnicodeDecodeError) as error:
        explained = db.explain(error, context.db_path)
        return _report(str(explained), explained.exit_code, environ)
    except KeyboardInterrupt:
        return _report("interrupted", 128 + signal.SIGINT, environ)
    except ModuleNotFoundError as error:
        return _report(options.missing_package(error), EXIT_CONFIGURATION, environ)
    except Exception as error:
        log.debug("where it happened", exc_info=True)
        of_machine = errors.of_machine(error, command)
        if of_machine is not None:
            return _report(str(of_machine), of_machine.exit_code, environ)
        return _report(f"unexpected {type(error).__name__}: {error}; please report it", EXIT_FAILED, environ)


def _report(message: str, code: int, environ: Mapping[str, str]) -> int:
    if logs.current().as_json:
        log.error("%s", message)
    else:
        print("error: " + settings.one_line(message, environ), file=sys.stderr)
    return code


def process() -> NoReturn:
    """`main` as all that this process does."""
    output.make_safe()
    os.umask(os.umask(0o077) & 0o077)  # for us the modes that are asked for hold; for others it may be stricter
    code = main()
    if code > 128:
        # Interrupted: a thread may still wait for an answer. Its commits are whole; nothing is lost by not waiting.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
