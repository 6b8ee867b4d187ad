#!/usr/bin/env bash
# Sets up what it needs, then runs the whole pipeline once: ingest, then worker.
#
#   run_pipeline.sh [OWNER/NAME ...]   these repositories (default: $PIPELINE_REPOS, else octocat/Hello-World)
#   run_pipeline.sh --demo             everything once, against a GitHub of its own, in ./demo; needs no account
#   run_pipeline.sh --help
#
# The database (pipeline.db, or $PIPELINE_DB) and, without BUCKET_NAME, the archive lie in the current directory.
# Ends with the highest exit code of its steps (README, "Exit codes"). $PYTHON names the interpreter.
set -u

# Cron may run us without a HOME or a useful PATH; the place of this file, through links, is all that we rely on.
here=$0
while [ -L "$here" ]; do
    link=$(readlink "$here")
    case $link in /*) here=$link ;; *) here=$(dirname "$here")/$link ;; esac
done
here=$(cd "$(dirname "$here")" && pwd -P) || exit 2

venv=$here/.venv
lock=$here/.venv.lock
child=""
server=""
locked=""
worst=0

say() { printf 'run_pipeline: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
usage() { sed -n '2,9s/^# \{0,1\}//p' "$here/run_pipeline.sh"; }

clean_up() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    [ -n "$locked" ] && rm -rf "$lock"
    server="" locked=""
}
interrupted() {
    trap '' INT TERM
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child" 2>/dev/null
    fi
    exit "$1"
}
trap clean_up EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# In the background, so that a signal reaches us at once and is passed on; bash runs no trap while a child is in front.
step() {
    "$@" &
    child=$!
    wait "$child"
    code=$?
    child=""
    [ "$code" -gt "$worst" ] && worst=$code
    case $code in 130 | 143) exit "$code" ;; esac
    return 0
}

# One set-up at a time: mkdir is atomic everywhere. A lock whose owner is gone is taken over.
take_lock() {
    tries=0
    until mkdir "$lock" 2>/dev/null; do
        owner=$(cat "$lock/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$lock"
            continue
        fi
        tries=$((tries + 1))
        [ "$tries" -gt 300 ] && die "another set-up has held $lock for 5 minutes; if none is running, remove it"
        sleep 1
    done
    locked=yes
    printf '%s\n' "$$" >"$lock/pid"
}

set_up() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null 2>&1 || die "no $python found; install Python 3.8 or newer, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' || die "$python is older than 3.8; set PYTHON"
    wanted=$("$python" -c 'import sys; print(sys.version)' | cat - "$here/requirements.txt" | cksum)
    [ "$(cat "$venv/stamp" 2>/dev/null)" = "$wanted" ] && return 0
    take_lock
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$wanted" ]; then
        say "setting up $venv (once)"
        rm -rf "$venv"
        "$python" -m venv "$venv" >&2 || die "$python can't make a virtual environment; install venv (Debian: python3-venv)"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2 ||
            die "the packages of requirements.txt could not be installed; see above"
        printf '%s\n' "$wanted" >"$venv/stamp"
    fi
    rm -rf "$lock"
    locked=""
}

run_main() { step "$venv/bin/python" "$here/main.py" "$@"; }

pipeline() {
    repos=""
    # Names have no spaces, as main.py checks; words may be split here.
    for repo in "$@"; do repos="$repos --repo $repo"; done
    # shellcheck disable=SC2086
    run_main ingest $repos
    if [ -n "${BUCKET_NAME:-}" ]; then
        run_main worker
    else
        say "BUCKET_NAME is not set: archiving into the directory ./archive"
        run_main worker --archive-dir archive
    fi
}

demo() {
    mkdir -p demo && cd demo || exit 2
    rm -rf pipeline.db pipeline.db-wal pipeline.db-shm pipeline.db.owners archive github-url
    unset GITHUB_TOKEN GH_TOKEN BUCKET_NAME PIPELINE_DB
    (cd "$here" && exec "$venv/bin/python" -m tests.github_server --items 500 --repo acme/widgets \
        --port-file "$OLDPWD/github-url" >/dev/null) &
    server=$!
    tries=0
    until [ -s github-url ]; do
        tries=$((tries + 1))
        { [ "$tries" -gt 100 ] || ! kill -0 "$server" 2>/dev/null; } && die "the demo's GitHub did not start"
        sleep 0.1
    done
    GITHUB_API_URL=$(cat github-url)
    export GITHUB_API_URL
    run_main ingest --repo acme/widgets --all
    run_main worker --archive-dir archive
    echo
    "$venv/bin/python" - <<'SQL'
import sqlite3
query = "SELECT item_type, number, state, lead_time_hours, title FROM issues ORDER BY updated_at DESC LIMIT 5"
for row in sqlite3.connect("pipeline.db").execute(query):
    print("  ".join(map(str, row)))
SQL
    echo
    echo "database  $(pwd)/pipeline.db"
    echo "archive   $(pwd)/archive, $(find archive -name '*.json' | wc -l | tr -d ' ') objects, such as"
    find archive -name '*.json' | sort | head -n 2 | sed 's/^/          /'
}

case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    --demo) [ $# -eq 1 ] || die "--demo takes nothing else"; set_up; demo; exit "$worst" ;;
esac
set -f # names are words, never patterns
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- ${PIPELINE_REPOS:-octocat/Hello-World}
for repo in "$@"; do
    case $repo in
        -*) die "unknown option $repo; see --help" ;;
        *[!A-Za-z0-9._/-]*) die "'$repo' is no repository name; write OWNER/NAME" ;;
    esac
done
set_up
pipeline "$@"
exit "$worst"
