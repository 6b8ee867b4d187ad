#!/usr/bin/env bash
# Sets up a virtual environment of its own and runs linters, type check and tests, four at a time (most of them wait for
# processes); those that take a good part of a minute each, and most of many like cases, only with `tests/run.sh --long`.
# With arguments: only pytest, with these arguments. $PYTHON names the interpreter (default: python3).
set -euo pipefail

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
die() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 2; }

command -v "$python" >/dev/null 2>&1 || die "no $python found; install Python 3.8 or newer, or set PYTHON"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || die "$python does not run"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' || die "$python is older than 3.8; set PYTHON"
venv=.venv-test-$version
stamp=$(cat requirements.txt requirements-{postgres,app,publish,report,dev}.txt | cksum)

# The interpreter that it was made from may be gone.
if [ "$(cat "$venv/stamp" 2>/dev/null || true)" != "$stamp" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "$python has no venv module; install it (Debian: python3-venv)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
        || die "the packages could not be installed; see above"
    printf '%s\n' "$stamp" >"$venv/stamp"
fi

# What the caller's shell holds must reach no test: they run without account and without secret.
for name in $(compgen -e | grep -E '^(AWS|PIPELINE|GITHUB_APP)_' || true); do unset "$name"; done
unset GITHUB_TOKEN GH_TOKEN GITHUB_API_URL BUCKET_NAME
unset PYTHONDONTWRITEBYTECODE # hundreds of processes would compile all modules anew: a fifth of the time
export AWS_EC2_METADATA_DISABLED=true

pytest() { exec "$venv/bin/python" -m pytest "$@"; }
if [ "$*" = --long ]; then
    pytest -n 3 --dist worksteal -m long --durations=5
elif [ $# -gt 0 ]; then
    pytest "$@"
fi
if [ -x "$venv/bin/ruff" ]; then
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy" -- *.py audit commands cursors engines foundation github lake report s3 scans tables
fi
pytest -n 4 --dist worksteal -m "not long" --durations=10
