#!/bin/sh
# Installs the AWS CLI (version 1, from PyPI) into FOLDER, in a virtual environment of its own: it pins a botocore that
# the agent's own environment need not have. Safe to run again: does nothing when all is there.
#
#   resolution_awscli.sh PYTHON FOLDER
set -eu
python=$1 folder=$2
[ ! -e "$folder/complete" ] || exit 0
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'awscli>=1.40,<2'
: >"$folder/complete"
