#!/bin/sh
# A root file system to install packages in: this machine's own, under a layer that is thrown away. Started as process 1
# of fresh mount, PID, network, IPC and UTS namespaces; does what standard input says, inside.
#
#   package_root.sh WORK PACKAGES        PACKAGES is seen as /packages
set -eu
work=$1 packages=$2

mount -t tmpfs -o mode=755 package-root "$work"
mkdir "$work/upper" "$work/overlay" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" overlay "$work/root"
cd "$work/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p packages
mount --bind "$packages" packages
# What the machine may have of a real installation must not show through.
rm -rf opt/deployment opt/services var/lib/delphi-agent var/cache/delphi-agent-pyz etc/delphi-agent
rm -f usr/local/bin/fetch-config*
exec chroot . env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -eu
