#!/bin/sh
# Shows a first boot from beginning to end, on a Debian 12 machine with python3, as root: what is missing is installed,
# an instance is made (a lab: its own network with AWS, a registry and a Docker engine in it), and everything is gone
# again at the end.
#
#   sh packaging/demo.sh             show it and clean up
#   sh packaging/demo.sh --keep      leave the instance up, and say how to look around and how to take it down
set -eu
cd "$(dirname "$0")/.."
program=demo
# Nobody is asked anything; and standard input may be closed.
exec </dev/null

usage() { sed -n 's/^#   /  /p' packaging/demo.sh; }

keep=''
for argument; do
    case $argument in
    --keep) keep=1 ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

. packaging/environment.sh

work='' lab=''
clean_up() {
    status=$?
    trap '' INT TERM HUP
    if [ -n "$lab" ]; then
        kill "$lab" 2>/dev/null || true
        wait "$lab" || true
    fi
    [ -z "$work" ] || rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

start_lab() {
    began=$(now)
    # A session of its own: a Ctrl-C ends this script, whose clean_up then ends the lab in good order.
    setsid "$venv_python" -m tests.lab up >"$work/lab.log" 2>&1 </dev/null &
    lab=$!
    until grep -q '^lab: up' "$work/lab.log"; do
        kill -0 "$lab" 2>/dev/null || fail "the lab did not start: $(cat "$work/lab.log")"
        sleep 0.1
    done
    stage_line "lab" "$(since "$began")"
}

# Runs a command on the instance, with what a login there would have.
inside() { "$venv_python" -m tests.lab enter "$@"; }

title() { printf '\n== %s\n' "$*"; }
show() {
    echo "\$ $*"
    inside "$@" 2>&1
}

# What cloud-init gives a command: a short PATH, no HOME, no terminal.
as_cloud_init() {
    echo "\$ $*"
    {
        code=0
        inside env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" 2>&1 </dev/null || code=$?
        echo "$code" >"$work/code"
    } | cat
    echo "exit code $(cat "$work/code")"
    [ "$(cat "$work/code")" = 0 ]
}

container_ids() { inside docker ps --all --quiet --no-trunc | sort; }

find_python
[ "$(id -u)" = 0 ] || fail "run me as root: the lab makes network namespaces and runs a Docker engine in them"
demo_began=$(now)
run_stage "debian packages" install_packages
prepare_python
work=$(mktemp -d)
start_lab
agent=$venv/bin/delphi-agent

title "The bootstrap file, as cloud-init has written it"
show cat /opt/deployment/.env

title "First boot, run as cloud-init runs it: one JSON line per event"
as_cloud_init "$agent" init

title "What the instance says about it"
show "$agent" status
show docker compose --project-name api ps --all

title "What the service answers: its health, and the names in its environment"
show busybox wget -q -O - http://127.0.0.1:3001/health
show busybox wget -q -O - http://127.0.0.1:3001/cgi-bin/env

title "The same command again, as a person sees it: nothing is downloaded, nothing is recreated"
before=$(container_ids)
show "$agent" --log-format console init
after=$(container_ids)
inside "$agent" status | grep -q '^unchanged' || fail "the second run did not leave the project alone"
[ -n "$before" ] || fail "there are no containers"
[ "$before" = "$after" ] || fail "containers were recreated: before $before, after $after"
echo "container ids, before and after:"
echo "$before" | sed 's/^/  /'

echo
if [ -n "$keep" ]; then
    # Printed as they have to be typed: another state file (tests use one) must be named again.
    state=${DELPHI_LAB_STATE:+DELPHI_LAB_STATE=$DELPHI_LAB_STATE }
    say "the instance stays up. A shell on it:"
    echo "  $state.venv/bin/python -m tests.lab enter"
    say "where these are worth a try: $agent status --json; docker ps; cat /run/delphi-agent/status.json"
    say "Take it down:"
    echo "  $state.venv/bin/python -m tests.lab down"
    lab=''
else
    kill "$lab"
    wait "$lab" || true
    lab=''
    say "the instance is gone again"
fi
say "done in $(since "$demo_began") s"
