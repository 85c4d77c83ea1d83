#!/bin/sh
# Makes the root file system of a Debian machine (12, or another suite) with systemd, cloud-init and Docker, and prints its folder.
#
#   rootfs.sh [SUITE]
#
# Kept below the lab's cache under a name that is made of this recipe: made again only when that changes. Needs root and
# mmdebstrap. Packages come from wherever this machine's own apt gets them; nothing of that is left in the folder.
set -eu
cd "$(dirname "$0")"
suite=${1:-bookworm}
cache=${DELPHI_LAB_CACHE:-/var/cache/delphi-agent-lab}
packages=systemd,systemd-sysv,dbus,udev,iproute2,ca-certificates,netbase,python3,cloud-init,docker.io,iptables
# Debian 12's docker.io brings the client as well.
[ "$suite" = bookworm ] || packages=$packages,docker-cli

key=$({ cat rootfs.sh; echo "$suite $packages"; } | sha256sum | cut -c1-16)
made=$cache/rootfs-$suite-$key
if [ ! -d "$made" ]; then
    mkdir -p "$cache"
    exec 9>"$cache/rootfs.lock"
    flock 9
fi
if [ ! -d "$made" ]; then
    part=$(mktemp -d "$cache/rootfs.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    # The machine's own sources, whatever their format: mmdebstrap takes a list or a mirror.
    mirror=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p; s/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
        /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
        grep -m 1 '/debian/*$')
    mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
        --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --aptopt='APT::Install-Recommends "false"' \
        --customize-hook='rm -rf "$1"/etc/apt/sources.list* "$1"/etc/hostname "$1"/etc/resolv.conf' \
        --customize-hook=': >"$1"/etc/machine-id' \
        "$suite" "$part/root" "$mirror" >&2
    rm -rf "$cache"/rootfs-"$suite"-*
    mv "$part/root" "$made"
fi
echo "$made"
