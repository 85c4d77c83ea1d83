#!/bin/sh
# Installs what the lab needs on a Debian 12 machine: packages, and the Compose plugin into a cache folder.
#
# Safe to run again: it does only what is missing, says one line for each thing it does, and nothing when all is there.
# No package starts a daemon. The Compose plugin is Debian trixie's (bookworm only has Compose 1); it is unpacked,
# not installed, so the machine's own package selection stays pure bookworm.
set -eu

cache=${DELPHI_LAB_CACHE:-/var/cache/delphi-agent-lab}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# docker.io iptables:            the engine of the lab machine
# docker-registry apache2-utils: the registry and its htpasswd file
# busybox-static:                the application image
# iproute2 util-linux openssl ca-certificates: namespaces, mounts, trust in the lab's own certificate authority
# curl procps:                   for tests that look around on the instance
# squid:                         the proxy between the instance and AWS
# mmdebstrap systemd-container:  for tests that boot whole machines
# strace jq python3-venv:        for tests that watch the agent from outside or install its package
# lintian rpm rpmlint groff-base zsh systemd: for tests of the packages, their manual, completions and units
packages="docker.io iptables docker-registry apache2-utils busybox-static iproute2 util-linux openssl
          ca-certificates curl procps strace jq python3-venv squid lintian rpm rpmlint groff-base zsh systemd
          mmdebstrap systemd-container"

say() { echo "lab install: $*" >&2; }
fail() { say "$*"; exit 1; }

own_policy='' state='' log=''
cleanup() {
    [ -z "$own_policy" ] || rm -f "$own_policy"
    [ -z "$state" ] || rm -rf "$state"
    [ -z "$log" ] || rm -f "$log"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

missing_packages() {
    # dpkg-query fails for names it has never heard of; those are simply not in its output.
    installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $packages 2>/dev/null | sed -n 's/^ii  *//p') || true
    for package in $packages; do
        echo "$installed" | grep -qx "$package" || echo "$package"
    done
}

install_packages() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        # 101 = "action forbidden": maintainer scripts then leave the daemons alone. An existing policy is respected.
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        own_policy=$policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    apt_install() { apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; }
    # The lists may be absent or too old for the mirror: look for fresh ones only when the first attempt fails.
    apt_install "$@" || { apt-get -qq update && apt_install "$@"; } || { cat "$log" >&2; fail "apt-get failed"; }
}

debian_mirror() {
    # The machine's own first Debian mirror, from either format of apt's sources.
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [ -r "$file" ] || continue
        case $file in
        *.sources) sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$file" ;;
        *.list) sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' "$file" ;;
        esac
    done | grep -m 1 '/debian/*$'
}

fetch_compose() {
    [ -r $keyring ] || fail "no $keyring: install debian-archive-keyring"
    mirror=$(debian_mirror) || fail "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d"
    state=$(mktemp -d)
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/deb"
    echo "deb [signed-by=$keyring] $mirror trixie main" >"$state/sources.list"
    trixie() {
        apt-get -qq -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o Dir::State::lists="$state/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache" \
            -o APT::Sandbox::User=root -o APT::Default-Release= -o Acquire::Languages=none \
            -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@"
    }
    trixie update || fail "cannot read the package lists of trixie from $mirror"
    (cd "$state/deb" && trixie download docker-compose) || fail "cannot download docker-compose from $mirror"
    dpkg-deb --extract "$state"/deb/docker-compose_*.deb "$state/root"
    mkdir -p "$cache"
    # Copy and rename: an interrupted run must not leave half a plugin that looks complete.
    cp "$state/root/usr/libexec/docker/cli-plugins/docker-compose" "$cache/docker-compose.part"
    chmod 755 "$cache/docker-compose.part"
    mv "$cache/docker-compose.part" "$cache/docker-compose"
}

missing=$(missing_packages)
if [ -n "$missing" ] || [ ! -x "$cache/docker-compose" ]; then
    [ "$(id -u)" = 0 ] || fail "run me as root"
fi
if [ -n "$missing" ]; then
    say "installing" $missing
    install_packages $missing
fi
if [ ! -x "$cache/docker-compose" ]; then
    say "fetching the Compose plugin into $cache"
    fetch_compose
fi
