#!/bin/bash
# The environment of the role as `export NAME=value` lines: bootstrap file, SSM, Secrets Manager, external secrets,
# defaults, templates (contract sections 1, 3 and 4). The AWS CLI follows pages by itself; a secret is a call of its own.
#
#   fetch-env.sh --manifest M --bootstrap B --format export|file
set -euo pipefail
while [ $# -gt 0 ]; do
    case $1 in
    --manifest) manifest=$2 ;;
    --bootstrap) bootstrap=$2 ;;
    --format) format=$2 ;;
    *) echo "unknown: $1" >&2 && exit 2 ;;
    esac
    shift 2
done
set -a
# shellcheck source=/dev/null
source "${bootstrap:?}"
set +a
export AWS_DEFAULT_REGION=${AWS_REGION:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -c 'import json, sys, yaml; json.dump(yaml.load(sys.stdin, yaml.CBaseLoader), sys.stdout)' \
    <"${manifest:?}" >"$work/manifest"
below=${NAMESPACE:?}/$(jq -r .service "$work/manifest")

aws ssm get-parameters-by-path --path "/$below/" --recursive --with-decryption --output json >"$work/parameters"

aws secretsmanager list-secrets --filters "Key=name,Values=$below/" --output json |
    jq -r --arg below "$below/" '.SecretList[].Name | select(startswith($below))' >"$work/names"
: >"$work/secrets"
while IFS= read -r name; do
    aws secretsmanager get-secret-value --secret-id "$name" --output json >>"$work/secrets"
done <"$work/names"

: >"$work/external"
jq -r '[.variables[].secret.arn_from // empty] | unique[]' "$work/manifest" >"$work/arns"
while IFS= read -r name; do
    aws secretsmanager get-secret-value --secret-id "${!name}" --output json >>"$work/external"
done <"$work/arns"

# The last that has it wins; then the default; then templates; then what is required must be there.
jq -nr --arg format "${format:-export}" --slurpfile manifest "$work/manifest" \
    --slurpfile parameters "$work/parameters" --slurpfile secrets "$work/secrets" --slurpfile external "$work/external" '
    ([$parameters[0].Parameters[] | {key: (.Name | split("/") | last), value: .Value}] | from_entries) as $ssm
    | ([$secrets[].SecretString | fromjson] | add // {}) as $secret
    | ([$external[] | {key: .ARN, value: .SecretString}] | from_entries) as $outside
    | $manifest[0].variables as $variables
    | def given: . != null and . != "";
      def text: if type == "string" then . elif . == null then null else tojson end;
      (reduce $variables[] as $v ({};
        (if $v.secret then $outside[env[$v.secret.arn_from]]
                           | if $v.secret.key then fromjson[$v.secret.key] else . end
         else null end) as $fourth
        | ([$fourth, $secret[$v.name], $ssm[$v.name]] | map(text) | map(select(given))
           | if $v.source == "local" then [] else . end | first) as $remote
        | ([$remote, env[$v.name], $v.default] | map(select(given)) | first) as $value
        | if $value then .[$v.name] = $value else . end)) as $plain
    | (reduce ($variables[] | select(.compose)) as $v ($plain;
        . as $known
        | .[$v.name] = reduce ($v.compose.template | scan("\\$\\{([A-Za-z_][A-Za-z0-9_]*)\\}") | first) as $name
            ($v.compose.template; split("${" + $name + "}") | join($known[$name] // "")))) as $all
    | ([$variables[] | select(.required == "true" and ($all[.name] | given | not)) | .name]) as $missing
    | if $missing != [] then "missing: \($missing | join(", "))\n" | halt_error(66) else . end
    | $all | to_entries[]
    | if $format == "file" then "\(.key)=\(.value)" else "export \(.key)=\(.value | @sh)" end'
