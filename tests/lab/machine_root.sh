#!/bin/sh
# Builds the root and the network of a lab machine, then becomes its process 1. Started by machine.py, inside fresh
# mount, network, PID, UTS and IPC namespaces.
#
#   machine_root.sh WORK CHECKOUT PLUGIN PYTHON INIT [FOLDER...]
#
# WORK      an empty folder to mount on
# CHECKOUT  bound read-only at its own path, so that a test sees edits at once and can change nothing
# PLUGIN    the Docker Compose plugin
# FOLDER    folders on other file systems than / that the machine needs too (a virtual environment in /home, say)
set -eu
work=$1 checkout=$2 plugin=$3 python=$4 init=$5
shift 5
read -r host_pid _ </proc/self/stat # /proc is still the caller's: this is our PID as the caller sees it

# The layers of an overlay on / must be on another file system than /, else the kernel answers ELOOP.
mount -t tmpfs -o mode=755 delphi-lab "$work"
mkdir -p "$work/upper" "$work/overlay" "$work/docker" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" overlay "$work/root"
cd "$work/root"

bind() { mkdir -p ".$1" && mount --rbind "$1" ".$1"; }
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
for folder; do bind "$folder"; done
bind "$checkout"
mount -o remount,bind,ro ".$checkout"

# Data of the lab itself (servers' state and logs, the layers above) stays out of the layer that tests scan.
mkdir -p .lab var/lib/docker usr/local/lib/docker/cli-plugins
mount --bind "$work" .lab
mount --bind "$work/docker" var/lib/docker
: >usr/local/lib/docker/cli-plugins/docker-compose
mount --bind "$plugin" usr/local/lib/docker/cli-plugins/docker-compose

# What the host may have of a real installation, or of its user's own accounts, must not show through.
rm -rf etc/docker opt/deployment opt/services var/lib/delphi-agent root/.docker root/.aws etc/resolv.conf etc/hosts
: >etc/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n10.77.0.10 ip-10-77-0-10\n' >etc/hosts

mkdir -p .lab/old
pivot_root . .lab/old
umount -l /.lab/old
hostname ip-10-77-0-10

# Two network namespaces joined by a cable: this one is the instance, "aws" is everything around it. The metadata
# service is one hop away, so its hop limit is as real as on EC2: a container behind the bridge is one hop too far.
ip netns add aws
ip link add eth0 type veth peer name eth0 netns aws
ip -batch - <<'INSTANCE'
link set lo up
link set eth0 up
addr add 10.77.0.10/24 dev eth0
route add 169.254.169.254 dev eth0
route add default via 10.77.0.1
INSTANCE
ip -n aws -batch - <<'AWS'
link set lo up
link set eth0 up
addr add 10.77.0.1/24 dev eth0
addr add 169.254.169.254/32 dev eth0
addr add 10.99.0.1/32 dev lo
addr add 10.99.0.2/32 dev lo
route add unreachable default
AWS
echo 1 >/proc/sys/net/ipv4/ip_forward
# Everything else in the world is unreachable, and says so at once, every time (ICMP errors are rate-limited by default).
nsenter --net=/run/netns/aws sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'
if [ -e /proc/sys/net/ipv6 ]; then
    ip -batch - <<'INSTANCE'
addr add fd00:77::10/64 dev eth0 nodad
route add fd00:ec2::254 dev eth0
INSTANCE
    ip -n aws -batch - <<'AWS'
addr add fd00:77::1/64 dev eth0 nodad
addr add fd00:ec2::254/128 dev eth0 nodad
AWS
fi

exec "$python" -I -S "$init" "$host_pid"
