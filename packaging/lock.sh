#!/bin/sh
# Writes packaging/locked.txt (what the agent needs) and packaging/locked-dev.txt (that, and every tool and test
# dependency) from pyproject.toml: exact versions with the hashes of all their published files, for Python 3.11 and
# later on Linux. Run it to take new versions; check.sh and demo.sh install nothing that is not in these files.
#
#   sh packaging/lock.sh
#
# The files name no package index: pip takes the machine's own, and so does this script.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

"${PYTHON:-python3}" -m venv "$work/uv"
"$work/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv

# uv does not read pip's configuration.
index=$("$work/uv/bin/python" -m pip config get global.index-url 2>/dev/null) || index=
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"

# uv takes the platforms from the project file only.
cp pyproject.toml "$work/pyproject.toml"
printf '\n[tool.uv]\nenvironments = ["sys_platform == '\''linux'\''"]\n' >>"$work/pyproject.toml"

lock() (
    target=$1
    shift
    {
        echo "# Written by packaging/lock.sh from pyproject.toml; not edited by hand."
        cd "$work"
        "$work/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
            --no-annotate --no-emit-index-url --no-cache "$@" pyproject.toml
    } >"$work/locked"
    # That all is for Linux need not be said on every line.
    sed "s/ ; sys_platform == 'linux'//" "$work/locked" >"$target"
    echo "$(grep -c == "$target") packages in $target"
)

lock "$PWD/packaging/locked.txt"
# The same versions for what both have: what is tested is what is shipped.
lock "$PWD/packaging/locked-dev.txt" --extra dev --constraint "$PWD/packaging/locked.txt"
