#!/usr/bin/env bash
# Sets up what it needs, then runs the whole pipeline once: ingest, then worker, and with PIPELINE_PUBLISH=1 publish.
#
#   run_pipeline.sh [OWNER/NAME ...] [-- OPTION ...]
#                            these repositories (default: $PIPELINE_REPOS, else octocat/Hello-World); options behind --
#                            are for ingest, such as --all, or --org ACME or --installation in place of names
#   run_pipeline.sh --demo   everything once, against a GitHub of its own, in ./demo; needs no account
#   run_pipeline.sh --help
#
# The database (pipeline.db, or $PIPELINE_DB) and, without BUCKET_NAME, the archive lie in the current directory.
# Ends with the highest exit code of its steps (docs/REFERENCE.md, "Exit codes"). $PYTHON names the interpreter.
# `sh run_pipeline.sh` may be another shell, which would come as far as the first thing that it does not know.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -u

# Cron may run us without a HOME or a useful PATH; the place of this file, through links, is all that we rely on.
unset CDPATH # an exported one would send the cd's below elsewhere
self=$0
while [ -L "$self" ]; do
    link=$(readlink "$self")
    case $link in /*) self=$link ;; *) self=$(dirname "$self")/$link ;; esac
done
here=$(cd "$(dirname "$self")" && pwd -P) || exit 2
self=$here/${self##*/}

venv=""
lock=$here/.venv.lock
child=""
server=""
locked=""
stopped=""
stopped_at=0
failed=""
publishes=""
worst=0

say() { printf 'run_pipeline: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
usage() { sed -n '2,11s/^# \{0,1\}//p' "$self"; }

# shellcheck disable=SC2329 # called by the traps
clean_up() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    [ -n "$locked" ] && rm -rf "$lock"
    server="" locked=""
}
# shellcheck disable=SC2329
signalled() { # NAME CODE
    # A repeat within two seconds is the same signal: `timeout` and service managers send it to each process.
    [ -n "$stopped" ] && [ $((SECONDS - stopped_at)) -lt 3 ] && return
    [ -n "$stopped" ] || stopped_at=$SECONDS
    stopped=$2
    case $child in
        "") exit "$2" ;;
        starting) ;; # run_child passes it on
        *) kill -s "$1" "$child" 2>/dev/null ;;
    esac
}
trap clean_up EXIT
trap 'signalled HUP 129' HUP
trap 'signalled INT 130' INT
trap 'signalled TERM 143' TERM

# In the background, so that a signal reaches us at once: bash runs no trap while a child is in front. In a process
# group of its own (set -m), so that Ctrl-C reaches the child through us only: a second signal tells it to drop all.
run_child() {
    child=starting
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    [ -n "$stopped" ] && kill "$child" 2>/dev/null
    wait "$child"
    code=$?
    # A signal ends wait before the child has ended.
    while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    child=""
    [ -n "$stopped" ] && exit "$stopped"
    return "$code"
}

run_main() { # COMMAND [OPTION ...]
    run_child "$venv/bin/python" "$here/main.py" "$@"
    code=$?
    [ "$code" -eq 0 ] || failed="${failed:+$failed, }$1 ended with $code"
    [ "$code" -gt "$worst" ] && worst=$code
    case $code in 129 | 130 | 143) exit "$code" ;; esac
    return 0
}

# The last line, because what a later step says may stand below an error.
sum_up() {
    [ "$worst" -eq 0 ] && return
    case $worst in
        3) what="stopped early by something outside (see above); run again later" ;;
        4) what="another run is under way; the errors are above" ;;
        *) what="a person is needed; the errors are above" ;;
    esac
    say "not all went well ($failed): $what"
}

# Who a process is: a process id alone is used again, by the first process of each new container above all.
identity() {
    if [ -r "/proc/$1/stat" ]; then
        born=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)
    else
        born=$(ps -o lstart= -p "$1" 2>/dev/null)
    fi
    [ -n "$born" ] && printf '%s %s\n' "$1" "$born"
}

# One set-up at a time: mkdir is atomic everywhere. A lock whose owner is gone, or died before it wrote who it is, is
# taken over. Of several that see this one makes `takeover`, and looks again: the lock may be another's by then.
take_lock() {
    tries=0
    until mkdir "$lock" 2>/dev/null; do
        [ -w "$here" ] || die "$venv must be set up, but $here is not writable; run this once as its owner"
        owner=$(cat "$lock/owner" 2>/dev/null)
        if { [ -n "$owner" ] && [ "$(identity "${owner%% *}")" != "$owner" ]; } ||
            { [ -z "$owner" ] && [ "$tries" -gt 5 ]; }; then
            if mkdir "$lock/takeover" 2>/dev/null; then
                [ "$(cat "$lock/owner" 2>/dev/null)" = "$owner" ] && break
                rmdir "$lock/takeover"
            fi
        fi
        tries=$((tries + 1))
        [ "$tries" -gt 300 ] && die "another set-up has held $lock for 5 minutes; if none is running, remove it"
        sleep 1
    done
    locked=yes
    identity "$$" >"$lock/owner"
    rm -rf "$lock/takeover"
}

# Each interpreter, and each requirements.txt (with those of PostgreSQL, of an App and of publish, where they are wanted),
# has an environment of its own: what another run works in stays as it is.
# The stamp is written last: a half-made one has none and is made again.
is_set_up() { [ -x "$venv/bin/python" ] && [ -f "$venv/stamp" ]; }

# Does an environment hold what this run needs, and perhaps more? Its stamp has a line for all of it, and one a file.
fits() {
    [ -x "$1/bin/python" ] && [ -f "$1/stamp" ] || return 1
    [ "$(head -n 1 "$1/stamp")" = "$packages" ] && return
    printf '%s\n' "$parts" | while read -r part; do grep -qxF "$part" "$1/stamp" || exit 1; done
}

# `.venv` leads to one that fits, whichever interpreter made it: a run by hand, without the variables of an App, takes
# nothing from cron's. A folder of that name is left alone.
point_to_it() {
    if fits "$here/.venv"; then return; fi
    if [ -d "$here/.venv" ] && [ ! -L "$here/.venv" ]; then
        # Only the environments of run_pipeline.sh have a stamp: this is one from when they were not yet led to.
        [ ! -f "$here/.venv/stamp" ] || say "$here/.venv is out of date; remove it once nothing runs in it"
        return
    fi
    ln -s "${venv##*/}" "$here/.venv.link.$$" 2>/dev/null &&
        "$venv/bin/python" -c 'import os, sys; os.replace(*sys.argv[1:])' "$here/.venv.link.$$" "$here/.venv"
}

# What an interrupted set-up left goes at once. An environment that was replaced is marked, and goes in a set-up a month
# later: a run, or a service, may be at work in it, and may come back to it.
tidy_up() {
    for old in "$here"/.venv-run-*; do
        if [ ! -f "$old/stamp" ]; then
            rm -rf "$old"
        elif [ "$old" -ef "$venv" ] || [ "$old" -ef "$here/.venv" ]; then
            rm -f "$old/replaced"
        elif [ ! -f "$old/replaced" ]; then
            : >"$old/replaced"
        elif [ -n "$(find "$old/replaced" -mtime +30)" ]; then
            rm -rf "$old"
        fi
    done
}

set_up() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null 2>&1 || die "no $python found; install Python 3.8 or newer, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null ||
        die "$python does not run or is older than 3.8; set PYTHON"
    case ${PIPELINE_DB:-} in
        postgresql://* | postgres://*) driver=$here/requirements-postgres.txt ;;
        *) driver="" ;;
    esac
    login=${GITHUB_APP_ID:+$here/requirements-app.txt}
    tables=${publishes:+$here/requirements-publish.txt}
    packages=$(cat "$here/requirements.txt" ${driver:+"$driver"} ${login:+"$login"} ${tables:+"$tables"} | cksum | tr ' ' -)
    parts=$(for file in "$here/requirements.txt" ${driver:+"$driver"} ${login:+"$login"} ${tables:+"$tables"}; do
        cksum <"$file"
    done)
    venv=$here/.venv-run-$("$python" -c 'import sys; print(sys.version, sys.base_prefix)' | cksum | tr ' ' -)-$packages
    if is_set_up; then
        rm -f "$venv/replaced" 2>/dev/null # nobody else's to remove
        point_to_it
        return
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python has no venv module; install it (Debian: python3-venv)"
    take_lock
    if ! is_set_up; then # the one that we waited for may have done it
        say "setting up $here/.venv (once)"
        rm -rf "$venv"
        run_child "$python" -m venv "$venv" >&2 || die "$python can't make the virtual environment $venv; see above"
        run_child "$venv/bin/python" -m pip install -q --disable-pip-version-check \
            -r "$here/requirements.txt" ${driver:+-r "$driver"} ${login:+-r "$login"} ${tables:+-r "$tables"} >&2 ||
            { say "the packages of requirements.txt could not be installed; see above, and run again later"; exit 3; }
        printf '%s\n' "$packages" "$parts" >"$venv/stamp"
    fi
    point_to_it
    set +f
    tidy_up
    set -f
    rm -rf "$lock"
    locked=""
}

# Repositories, then what follows --.
pipeline() {
    repos=""
    # Names have no spaces, as was checked; words may be split here.
    while [ $# -gt 0 ] && [ "$1" != -- ]; do repos="$repos --repo=$1"; shift; done
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2086
    run_main ingest $repos "$@"
    place=""
    if [ -z "${BUCKET_NAME:-}" ]; then
        say "BUCKET_NAME is not set: archiving into the directory ./archive"
        place="--archive-dir archive"
    fi
    # shellcheck disable=SC2086
    run_main worker $place
    # Also after a worker that failed for some items: the others are in the tables.
    # shellcheck disable=SC2086
    [ -z "$publishes" ] || run_main publish $place
}

# The page needs packages that a run does not: where they can't be had, the demo has no page.
demo_page() {
    if ! "$venv/bin/python" -c 'import jinja2, vl_convert' 2>/dev/null; then
        [ -w "$venv" ] || return
        say "installing what the page needs (once)"
        run_child "$venv/bin/python" -m pip install -q --disable-pip-version-check \
            -r "$here/requirements-report.txt" >&2 || { say "that could not be installed: no page"; return; }
    fi
    run_main report -q --out report.html
}

demo() {
    # Only a folder that an earlier demo made is emptied.
    mark=.made-by-run_pipeline-demo
    if [ -e demo ] && [ ! -e "demo/$mark" ]; then
        die "./demo is there already, and no demo made it: move it away, or run this in another folder"
    fi
    { mkdir -p demo && cd demo && : >"$mark"; } || die "./demo can't be made; run this in a folder that you may write to"
    rm -rf pipeline.db pipeline.db-wal pipeline.db-shm pipeline.db.owners archive github-url report.html
    unset GITHUB_TOKEN GH_TOKEN GITHUB_APP_ID GITHUB_APP_PRIVATE_KEY GITHUB_APP_PRIVATE_KEY_FILE \
        GITHUB_APP_INSTALLATION_ID BUCKET_NAME PIPELINE_DB PIPELINE_STREAMS
    # In a process group of its own, as run_child's: at Ctrl-C it serves until the child has ended.
    set -m
    (cd "$here" && exec "$venv/bin/python" -m tests.github_server --items 500 --repo acme/widgets \
        --port-file "$OLDPWD/github-url" >/dev/null </dev/null) &
    server=$!
    set +m
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
    [ "$worst" -eq 0 ] || { say "the demo failed; see above"; return; }
    echo
    # Whatever the terminal can't show must not end this.
    PYTHONIOENCODING=:backslashreplace "$venv/bin/python" - <<'SQL'
import sqlite3

database = sqlite3.connect("pipeline.db")


def show(title, heads, query):
    rows = [tuple("-" if value is None else str(value) for value in row) for row in database.execute(query)]
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    print(title)
    for row in [heads, *rows]:
        print("  " + "  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())
    print()


show("The newest five", ("type", "number", "state", "lead hours", "title"),
     "SELECT item_type, number, state, round(lead_time_hours, 1), title FROM issues ORDER BY updated_at DESC LIMIT 5")
show("Lead time of what was finished", ("type", "items", "finished", "mean hours"),
     "SELECT item_type, count(*), count(lead_time_hours), round(avg(lead_time_hours), 1) FROM issues GROUP BY item_type")
SQL
    demo_page
    [ ! -f report.html ] || echo "Page      $(pwd)/report.html, to be opened in a browser"
    echo "Database  $(pwd)/pipeline.db"
    echo "Archive   $(pwd)/archive, $(find archive -name '*.json' | wc -l | tr -d ' ') objects, such as"
    find archive -name '*.json' | sort | head -n 3 | sed 's/^/          /'
    echo
    shown=$venv
    [ "$here/.venv" -ef "$venv" ] && shown=$here/.venv
    printf -v main '%q %q' "$shown/bin/python" "$here/main.py"
    echo "What to try next:"
    printf '  cd %q\n' "$(pwd)"
    echo "  $main status"
    echo "  $main rebuild --archive-dir archive --db again.db"
    ! command -v sqlite3 >/dev/null ||
        echo '  sqlite3 -header -column pipeline.db "SELECT author, count(*) AS items FROM issues GROUP BY author"'
    echo "With what GitHub has:"
    printf '  %q octocat/Hello-World -- --all\n' "$self"
}

case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    --demo) [ $# -eq 1 ] || die "--demo takes nothing else"; set_up; demo; exit "$worst" ;;
esac
set -f # names are words, never patterns
no_names() { [ $# -eq 0 ] || [ "$1" = -- ]; }
# Do options for ingest say which repositories?
names_behind() {
    for word in "$@"; do
        case $word in --installation | --org | --org=* | --repo | --repo=* | --repos-file | --repos-file=*) return 0 ;; esac
    done
    return 1
}
# shellcheck disable=SC2086
! no_names "$@" || set -- ${PIPELINE_REPOS:-} "$@"
{ no_names "$@" && ! names_behind "$@"; } && set -- octocat/Hello-World "$@"
# Roughly what main.py takes (foundation/settings.py): it looks closer, but the worker runs all the same by then.
owner_name='[A-Za-z0-9-][A-Za-z0-9_-]*/[A-Za-z0-9_.-]+'
server='([a-z]+://)?([A-Za-z0-9._:%~+-]+@)?[A-Za-z0-9.-]+(:[0-9]+)?[/:]'
name_or_address="^($owner_name/?|$server$owner_name([/?#][A-Za-z0-9._/:@?=&#%~+-]*)?)\$"
check_name() {
    [[ $1 =~ $name_or_address ]] && return # -a/b as well: old accounts may begin so
    case $1 in
        -*) die "unknown option $1; see --help (options for ingest come behind --)" ;;
        demo) die "'demo' is no repository name: write OWNER/NAME, or --demo for the demo" ;;
        *) die "'$1' is no repository name; write OWNER/NAME" ;;
    esac
}
behind=""
for word in "$@"; do
    case $word in
        --) behind=yes ;;
        --db | --db=*) die "--db would count for ingest, and not for the worker: set PIPELINE_DB instead" ;;
        *) [ -n "$behind" ] || check_name "$word" ;;
    esac
done
case ${PIPELINE_PUBLISH:-} in
    "" | 0 | false | no | off) ;;
    1 | true | yes | on) publishes=yes ;;
    *) die "PIPELINE_PUBLISH says neither on nor off; set it to 1 or 0" ;;
esac
set_up
pipeline "$@"
sum_up
exit "$worst"
