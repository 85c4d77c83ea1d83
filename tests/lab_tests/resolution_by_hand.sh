#!/bin/bash
# shellcheck disable=SC1090,SC1091,SC2015,SC2016,SC2034  # what jq writes is sourced; a nameref; jq and bash programs in quotes
# The environment that Compose gets, made with bash, the AWS CLI and jq: contract sections 1 and 4 and nothing of the
# agent. A test compares it with what the agent makes. Prints NAME=value, each ended by a NUL.
#
#   resolution_by_hand.sh AWS_CLI MANIFEST BOOTSTRAP      (the manifest as JSON, every scalar in quotes)
set -euo pipefail
cli=$1 manifest=$2 file=$3
export LC_ALL=C.UTF-8
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

declare -a names=() arns=()
declare -A bootstrap ssm secret external arn_from key local_only default template encode required value

# What the file sets when a shell sources it.
while IFS= read -r -d '' entry; do
    bootstrap[${entry%%=*}]=${entry#*=}
done < <(env -i bash -c 'set -a; source "$1"; exec /usr/bin/env -u _ -u PWD -u OLDPWD -u SHLVL -0' sourcing "$file")
export AWS_DEFAULT_REGION=${bootstrap[AWS_REGION]}

# @sh quotes anything for the shell.
jq -r '.variables[]
    | "names+=(\(.name))",
      (if .source == "local" then "local_only[\(.name)]=1" else empty end),
      (if has("default") then "default[\(.name)]=\(.default | @sh)" else empty end),
      (if has("secret") then "arn_from[\(.name)]=\(.secret.arn_from)", "key[\(.name)]=\(.secret.key // "" | @sh)"
       else empty end),
      (if has("compose") then "template[\(.name)]=\(.compose.template | @sh)",
                              "encode[\(.name)]=\(.compose.encode // "")" else empty end),
      (if .required == "true" then "required[\(.name)]=" else empty end),
      (if has("required_when") then "required[\(.name)]=\(.required_when | @sh)" else empty end)
' "$manifest" >"$work/manifest"
source "$work/manifest"
below=${bootstrap[NAMESPACE]}/$(jq -r .service "$manifest")

# SSM: by path, recursive, decrypted; the last part of the path is the name.
"$cli" ssm get-parameters-by-path --path "/$below/" --recursive --with-decryption --output json |
    jq -r '.Parameters[] | "ssm[\(.Name | split("/") | last)]=\(.Value | @sh)"' >"$work/ssm"
source "$work/ssm"

# field FILE NAME ARRAY: a field of a JSON object as `jq -r` prints it; null is not provided.
field() {
    local -n into=$3
    case $(jq -r --arg name "$2" '.[$name] | type' "$1") in
    null) ;;
    string) source <(jq -r --arg name "$2" '"into[\($name)]=\(.[$name] | @sh)"' "$1") ;;
    *) into[$2]=$(jq -r --arg name "$2" '.[$name]' "$1") ;;
    esac
}

# Secrets Manager: every secret below the prefix, merged; and the external ones that some variable takes from. (Batches,
# for the time that starting the CLI takes.)
for name in "${names[@]}"; do
    from=${arn_from[$name]-}
    [ -z "$from" ] || [ -z "${bootstrap[$from]-}" ] || arns+=("${bootstrap[$from]}")
done
{
    "$cli" secretsmanager list-secrets --filters "Key=name,Values=$below/" --output json |
        jq -r --arg below "$below/" '.SecretList[].Name | select(startswith($below))'
    printf '%s\n' "${arns[@]}"
} | sort -u | xargs -d '\n' -n 20 "$cli" secretsmanager batch-get-secret-value --output json --secret-id-list |
    jq -s --arg below "$below/" \
        '[.[].SecretValues[] | .id = if .Name | startswith($below) then .Name else .ARN end]' >"$work/secrets"
jq -r '.[].id' "$work/secrets" >"$work/ids"

number=0
text=$work/secret
while IFS= read -r id; do
    jq -j --argjson number "$number" \
        '.[$number] | if has("SecretString") then .SecretString else .SecretBinary | @base64d end' "$work/secrets" >"$text"
    number=$((number + 1))
    case $id in
    arn:*)
        for name in "${names[@]}"; do
            from=${arn_from[$name]-}
            [ -n "$from" ] && [ "${bootstrap[$from]-}" = "$id" ] || continue
            if [ -n "${key[$name]}" ]; then
                declare -A found=()
                field "$text" "${key[$name]}" found
                external[$name]=${found[${key[$name]}]-}
            else
                # With a mark at its end, or the shell would take newlines off.
                whole=$(cat "$text"; printf x)
                external[$name]=${whole%x}
            fi
        done
        ;;
    *)
        jq -r 'to_entries[] | select(.key | test("^[A-Za-z_][A-Za-z0-9_]*$"))
            | select(.value | type == "string") | "secret[\(.key)]=\(.value | @sh)"' "$text" >"$work/strings"
        source "$work/strings"
        jq -r 'to_entries[] | select(.key | test("^[A-Za-z_][A-Za-z0-9_]*$"))
            | select(.value | type != "string" and type != "null") | .key' "$text" >"$work/others"
        while IFS= read -r name; do field "$text" "$name" secret; done <"$work/others"
        ;;
    esac
done <"$work/ids"

# The last that has it wins; the empty string counts as not provided; then the default.
for name in "${names[@]}"; do
    now=${bootstrap[$name]-}
    if [ -z "${local_only[$name]-}" ]; then
        [ -z "${ssm[$name]-}" ] || now=${ssm[$name]}
        [ -z "${secret[$name]-}" ] || now=${secret[$name]}
        [ -z "${external[$name]-}" ] || now=${external[$name]}
    fi
    if [ -n "$now" ]; then
        value[$name]=$now
    elif [ -n "${default[$name]+set}" ]; then
        value[$name]=${default[$name]}
    fi
done

percent_encoded() {
    local LC_ALL=C text=$1 out='' character number
    for ((number = 0; number < ${#text}; number++)); do
        character=${text:number:1}
        case $character in
        [A-Za-z0-9._~-]) out+=$character ;;
        *) printf -v character '%%%02X' "'$character"; out+=%${character: -2} ;;
        esac
    done
    REPLY=$out
}

# Second pass: templates, each after those that it draws on; what is put in is not looked at again.
reference='\$\{([A-Za-z_][A-Za-z0-9_]*)\}'
build() {
    local name=$1 rest=${template[$1]} out='' used whole
    unset "template[$name]"
    while [[ $rest =~ $reference ]]; do
        whole=${BASH_REMATCH[0]} used=${BASH_REMATCH[1]}
        out+=${rest%%"$whole"*}
        rest=${rest#*"$whole"}
        [ -z "${template[$used]+set}" ] || build "$used"
        REPLY=${value[$used]-${bootstrap[$used]-}}
        [ -z "${encode[$name]}" ] || percent_encoded "$REPLY"
        out+=$REPLY
    done
    value[$name]=$out$rest
}
for name in "${names[@]}"; do
    [ -z "${template[$name]+set}" ] || build "$name"
done

for name in "${!required[@]}"; do
    condition=${required[$name]}
    other=${condition%%=*}
    if [ -z "$condition" ] || [ "${value[$other]-}" = "${condition#*=}" ]; then
        [ -n "${value[$name]-}" ] || { echo "missing: $name" >&2; exit 66; }
    fi
done

# All bootstrap variables are passed on too, but the AWS keys and what steers the host's own tools.
for name in "${!bootstrap[@]}"; do
    case $name in
    AWS_ACCESS_KEY_ID | AWS_SECRET_ACCESS_KEY | AWS_SESSION_TOKEN) continue ;;
    COMPOSE_PROFILES | COMPOSE_PROJECT_NAME) ;;
    COMPOSE_* | DOCKER_* | LD_* | PATH | HOME | BASH_ENV) continue ;;
    esac
    case " ${names[*]} " in *" $name "*) ;; *) printf '%s=%s\0' "$name" "${bootstrap[$name]}" ;; esac
done
for name in "${names[@]}"; do
    [ -z "${value[$name]+set}" ] || printf '%s=%s\0' "$name" "${value[$name]}"
done
