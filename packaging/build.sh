#!/bin/sh
# Builds the packages, the same bytes wherever and whenever it is done from one commit:
#
#   sh packaging/build.sh                    all of them, into dist/
#   sh packaging/build.sh --out DIR          into DIR
#   sh packaging/build.sh --version V        says that it is version V (otherwise that of agent/__init__.py)
#   sh packaging/build.sh --only deb         one kind: deb, rpm, pyz
#
# Needs Python 3.11 (PYTHON names another interpreter), whose byte code the packages bring, with pip or venv; dpkg-deb
# for the .deb, rpmbuild (Debian: rpm) for the .rpm.
set -eu
cd "$(dirname "$0")/.."
program=build
exec </dev/null

usage() { sed -n 's/^#   /  /p' packaging/build.sh; }

out=dist version='' only='deb rpm pyz'
while [ $# -gt 0 ]; do
    case $1 in
    --out | --version | --only) [ $# -gt 1 ] || { usage >&2 && exit 2; } ;;
    esac
    case $1 in
    --out) out=$2 && shift ;;
    --version) version=$2 && shift ;;
    --only) only=$2 && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

. packaging/environment.sh

# Whatever the caller's own are.
umask 022
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH

[ -n "$version" ] || version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' agent/__init__.py)
case $version in
'' | *[!0-9a-z.]* | [!0-9]*) fail "the version '$version' is none that a package can have: digits, letters, dots" ;;
esac
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -c safe.directory="$PWD" log -1 --format=%ct) ||
        fail "no git history here: set SOURCE_DATE_EPOCH to the time that the packages are to bear"
fi
export SOURCE_DATE_EPOCH

find_builder() {
    python=${PYTHON:-/usr/bin/python3}
    command -v "$python" >/dev/null || fail "no $python: install Python 3.11 (PYTHON=... names another one)"
    [ "$("$python" -c 'import sys; print(sys.version_info[:2])')" = "(3, 11)" ] ||
        fail "$python is $("$python" --version 2>&1); the packages bring the byte code of Python 3.11: PYTHON=... names one"
}

make_tree() {
    builder=$python
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        # Debian leaves pip out; a venv has one.
        can_make_venv || fail "$python has neither pip nor venv; on Debian: apt-get install python3-venv"
        "$python" -m venv "$work/venv"
        builder=$work/venv/bin/python
    fi
    "$builder" packaging/build/tree.py "$work/lib" "$version"
}

# Every file as the packages have it: owners are the archives' own matter, times are the commit's.
settle() { find "$1" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +; }

# make_root ROOT INTERPRETER: what the .deb and the .rpm install.
make_root() {
    mkdir -p "$1/usr/lib/systemd/system" "$1/usr/lib/systemd/catalog" "$1/usr/bin"
    cp -R "$work/lib" "$1/usr/lib/delphi-agent"
    install -m 644 systemd/delphi-agent.service systemd/delphi-agent-signal.service systemd/delphi-agent.target \
        "$1/usr/lib/systemd/system/"
    install -m 644 systemd/delphi-agent.catalog "$1/usr/lib/systemd/catalog/"
    for pair in delphi-agent:main fetch-config:fetch_config fetch-env.sh:fetch_env; do
        sed -e "s|@INTERPRETER@|$2|" -e "s|@ENTRY@|${pair#*:}|" packaging/build/launcher.in >"$1/usr/bin/${pair%%:*}"
        chmod 755 "$1/usr/bin/${pair%%:*}"
    done
}

# add_papers ROOT ZSH: what is read by people and shells.
add_papers() {
    share=$1/usr/share
    mkdir -p "$share/doc/delphi-agent" "$share/man/man8" "$share/bash-completion/completions" "$share/zsh/$2"
    generate papers "$work/lib" "$version" sbom >"$share/doc/delphi-agent/sbom.cdx.json"
    generate completions bash >"$share/bash-completion/completions/delphi-agent"
    generate completions zsh >"$share/zsh/$2/_delphi-agent"
    generate manual "$version" | gzip -9n >"$share/man/man8/delphi-agent.8.gz"
    for name in fetch-config fetch-env.sh; do
        echo '.so man8/delphi-agent.8' | gzip -9n >"$share/man/man8/$name.8.gz"
    done
}

generate() {
    module=$1
    shift
    PYTHONPATH=$PWD "$python" "packaging/build/$module.py" "$@"
}

# fill FILE: a maintainer script with the parts that both kinds have.
fill() {
    sed -e '/@FETCH_CONFIG@/{' -e 'r packaging/build/fetch-config.sh' -e 'd' -e '}' \
        -e '/@WAIT@/{' -e 'r packaging/build/wait.sh' -e 'd' -e '}' "$1"
}

make_pyz() { "$python" packaging/build/pyz.py "$work/lib" "$out/delphi-agent.pyz"; }

find_builder
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "$out"
out=$(cd "$out" && pwd)

. packaging/deb/build.sh
. packaging/rpm/build.sh

run_stage "tree" make_tree
for kind in $only; do
    case $kind in
    deb | rpm | pyz) run_stage "$kind" "make_$kind" ;;
    *) usage >&2 && exit 2 ;;
    esac
done
