# shellcheck shell=sh
# What check.sh and demo.sh have in common: the Debian packages, and the Python environment in .venv.
#
# Sourced from the checkout's root, with `set -eu` and $program set. Everything is made once and found again: the second run of either
# script installs nothing. Packages come from wherever this machine's own pip and apt get theirs.

venv=$PWD/.venv
venv_python=$venv/bin/python

# Some ways to start a script (cloud-init, cron) give no HOME; then pip has no cache, and needs none.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# Nothing here may talk to AWS by whatever account the caller happens to have.
export AWS_EC2_METADATA_DISABLED=true

say() { echo "${program:?}: $*"; }
fail() {
    echo "${program:?}: $*" >&2
    exit 1
}

# run_stage NAME COMMAND...: one line with the stage's duration; its output is shown only when it fails.
run_stage() {
    stage=$1
    shift
    began=$(now)
    # Only to be seen while it lasts.
    [ ! -t 1 ] || printf '%s: %s ...\r' "$program" "$stage"
    if output=$("$@" 2>&1); then
        stage_line "$stage" "$(since "$began")"
    else
        status=$?
        echo "$output"
        say "$stage FAILED after $(since "$began") s: $*" >&2
        return $status
    fi
}

stage_line() { say "$(printf '%-20s %6s s' "$1" "$2")"; }

# Tenths of a second since the machine started; unlike date(1)'s, they never jump.
now() { sed 's/\([0-9]*\)\.\([0-9]\).*/\1\2/' /proc/uptime; }
since() {
    tenths=$(($(now) - $1))
    echo "$((tenths / 10)).$((tenths % 10))"
}

find_python() {
    python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "no $python: install Python 3.11 or later (Debian: apt-get install python3)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is $("$python" --version 2>&1); Python 3.11 or later is needed (PYTHON=... names another one)"
}

# Debian leaves ensurepip, without which there is no venv, to a package of its own.
can_make_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

# The packages of the lab; needs root when one is missing.
install_packages() {
    sh tests/lab/install.sh
    can_make_venv || fail "$python cannot make virtual environments; for Debian's own: apt-get install python3-venv"
}

# A venv is as good as new while the lock, the interpreter and the place are the same; an interrupted one has no key.
lock_key() {
    "$python" -c 'import platform, sys; print(sys.version, sys.base_prefix, platform.machine())' | cat - "$1" | sha256sum
}
project_key() { echo "$PWD" | cat - pyproject.toml | sha256sum; }

install_locked() {
    "$python" -m venv --clear "$venv"
    "$venv_python" -m pip install --quiet --require-hashes --only-binary :all: -r "$1"
    lock_key "$1" >"$venv/lock.key"
}

# Editable: tests and lab always see the files as they are, and the console script lies beside the venv's python.
install_project() {
    "$venv_python" -m pip install --quiet --no-build-isolation --no-deps --editable .
    project_key >"$venv/project.key"
}

prepare_python() {
    lock=packaging/locked-dev.txt
    # Two scripts at a time would both rebuild it, over each other.
    exec 9<packaging
    flock 9
    if [ "$(cat "$venv/lock.key" 2>/dev/null)" != "$(lock_key $lock)" ] || [ ! -x "$venv_python" ]; then
        can_make_venv ||
            fail "$python cannot make virtual environments; on Debian, as root: apt-get install python3-venv"
        run_stage "python packages" install_locked $lock
    fi
    if [ "$(cat "$venv/project.key" 2>/dev/null)" != "$(project_key)" ]; then
        run_stage "project" install_project
    fi
    exec 9<&-
}
