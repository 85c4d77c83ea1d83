#!/bin/bash
# What `delphi-agent init` replaces: contract section 5, step by step, with the AWS CLI, jq and Docker's own commands.
# With BENCH_MARKS, the name and time of every step's end are appended to that file; nothing waits for anything else
# than what the step is about.
#
#   init.sh [--force-recreate]
set -euo pipefail
export HOME=/root
file=/opt/deployment/.env
force=()
[ "${1-}" != --force-recreate ] || force=(--force-recreate)
mark() { [ -z "${BENCH_MARKS-}" ] || printf '%s %s\n' "$1" "$EPOCHREALTIME" >>"$BENCH_MARKS"; }

set -a
# shellcheck source=/dev/null
source "$file"
set +a
export AWS_DEFAULT_REGION=$AWS_REGION
mark bootstrap

fetch-config
cd "/opt/services/$SERVER_ROLE"
mark bundle

if [ ! -e /etc/docker/daemon.json ]; then
    mkdir -p /etc/docker
    echo '{"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3"}}' >/etc/docker/daemon.json
    [ ! -d /run/systemd/system ] || systemctl restart docker
fi

imds=http://169.254.169.254/latest
token=$(curl -fsS -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' $imds/api/token)
PRIVATE_IP=$(curl -fsS -H "X-aws-ec2-metadata-token: $token" $imds/meta-data/local-ipv4)
export PRIVATE_IP
mark address

environment=$(fetch-env.sh --manifest vars.yaml --bootstrap "$file" --format export)
eval "$environment"
mark values

token=$(aws ecr get-login-password)
mark token
docker login --username AWS --password-stdin "$ECR_REGISTRY" <<<"$token" >/dev/null 2>&1
mark login

docker compose pull --quiet
mark pull

rm -f .env
docker compose up -d --remove-orphans --quiet-pull "${force[@]}" >/dev/null 2>&1
mark up

deadline=$((SECONDS + 120))
until [ "$(docker compose ps --all --format json |
    jq -rs 'flatten | map(select((.State == "running" and (.Health == "healthy" or .Health == "")) | not)) | length')" = 0 ]; do
    [ $SECONDS -lt $deadline ] || { echo "not healthy in time" >&2 && exit 1; }
    sleep 0.1
done
mark healthy

docker image prune --all --force >/dev/null
mark prune
