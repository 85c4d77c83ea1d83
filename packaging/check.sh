#!/bin/sh
# Everything that must hold before a change is accepted, from a clean clone on a Debian 12 machine with python3.
#
#   sh packaging/check.sh            all of it: needs root, installs what is missing
#   sh packaging/check.sh --quick    lint, types, imports, the tests that need no root; installs no Debian package
#   sh packaging/check.sh --long     all of it, with the tests that run for minutes
#
# All linters run before it stops at what they found. The last lines are pytest's own summary.
set -eu
cd "$(dirname "$0")/.."
program=check
# Nobody is asked anything; and standard input may be closed.
exec </dev/null

usage() { sed -n 's/^#   /  /p' packaging/check.sh; }

quick='' long=''
for argument; do
    case $argument in
    --quick) quick=1 ;;
    --long) long=1 ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

. packaging/environment.sh

lint_shell() {
    if command -v shellcheck >/dev/null; then
        run_stage "shellcheck" shellcheck -x packaging/*.sh .ci/run
    else
        say "shellcheck           not installed, left out"
    fi
}

lint() {
    failed=''
    run_stage "ruff check" "$venv_python" -m ruff check || failed=1
    run_stage "ruff format" "$venv_python" -m ruff format --check || failed=1
    run_stage "mypy" "$venv_python" -m mypy || failed=1
    run_stage "import-linter" "$venv_python" -c \
        'from importlinter.cli import lint_imports_command; lint_imports_command()' || failed=1
    lint_shell || failed=1
    [ -z "$failed" ] || fail "stopped before the tests"
}

# One run for all tests, so that its last line counts all of them.
run_tests() {
    # Side by side: each process has a lab of its own, and a lab mostly waits.
    if [ -n "$quick" ]; then
        set -- -n 2 --dist loadfile -m "not slow" tests/unit tests/packaging
    else
        set -- -n 2 --dist loadfile tests/unit tests/packaging tests/lab_tests tests/boot
    fi
    [ -z "$long" ] || export DELPHI_LONG=1
    say "tests"
    exec "$venv_python" -m pytest "$@"
}

find_python
[ -n "$quick" ] || run_stage "debian packages" install_packages
prepare_python
lint
run_tests
