# shellcheck shell=sh
# The life of the packages on a host, run inside package_root.sh; each part is a section that a test looks at.
section() { echo "== $1"; }
# What there is beside what the machine's own tools remember of it.
list() {
    find /etc /opt /usr /var/lib \( -path /var/lib/dpkg -o -path /var/lib/docker -o -path /var/lib/containerd \) -prune \
        -o -print 2>/dev/null | sort
}
links() { find /etc/systemd /var/lib/systemd -name '*delphi*' | sort; }
# A run that holds the lock until the upgrade says that it waits, and a second longer; then it says what it would load.
at_work() {
    mkdir -p /run/delphi-agent
    rm -f /tmp/at-work
    : >/tmp/upgrade
    flock /run/delphi-agent/lock sh -c '
        touch /tmp/at-work
        timeout 60 sh -c "until grep -q waiting /tmp/upgrade; do sleep 0.1; done"
        sleep 1
        echo "at work: $(delphi-agent --version)"' &
    until [ -e /tmp/at-work ]; do sleep 0.1; done
}

printf '#!/bin/sh\necho the former script\n' >/usr/local/bin/fetch-config
# Folders that every rpm system has.
mkdir -p /usr/share/licenses /usr/share/zsh/site-functions
list >/tmp/before

section install
dpkg --install /packages/delphi-agent_0.1.0_all.deb
dpkg --verify delphi-agent
section commands
readlink /usr/local/bin/fetch-config
delphi-agent --version
fetch-config --help | head -1
fetch-env.sh --help | head -1
section check
mkdir -p /tmp/api
cp /packages/bundle/* /tmp/api/
delphi-agent check /tmp/api && echo checked
section started
links
systemctl is-enabled delphi-agent.service delphi-agent.target || true
section verify
systemd-analyze verify /usr/lib/systemd/system/delphi-agent*.* 2>&1
section security
for unit in /usr/lib/systemd/system/delphi-agent*.service; do
    systemd-analyze security --offline=true --threshold=45 "$unit" | tail -1
done
section catalog
journalctl --update-catalog
journalctl --list-catalog | grep -o '^[0-9a-f]* delphi-agent' | sort
section man
for page in delphi-agent fetch-config fetch-env.sh; do
    zcat "/usr/share/man/man8/$page.8.gz" >"/tmp/$page.8"
done
groff -ww -man -Tutf8 /tmp/delphi-agent.8 2>/tmp/warnings >/tmp/page
echo "warnings: $(wc -l </tmp/warnings)"
sed 's/.\x08//g; s/\x1b\[[0-9;]*m//g' /tmp/page
cat /tmp/fetch-config.8 /tmp/fetch-env.sh.8
section bash
cat >/tmp/complete.bash <<'BASH'
. /usr/share/bash-completion/completions/delphi-agent
complete -p delphi-agent
ask() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _delphi_agent; echo "$*: ${COMPREPLY[*]}"; }
ask delphi-agent roll
ask delphi-agent --log-level w
ask delphi-agent init --skip-f
ask delphi-agent env --format ''
ask delphi-agent check /us
BASH
bash /tmp/complete.bash
section zsh
zsh -n /usr/share/zsh/vendor-completions/_delphi-agent
cat >/tmp/complete.zsh <<'ZSH'
zmodload zsh/zpty
zpty shell zsh -f
said() { local all; zpty -r -m shell all "*$1*" }
zpty -w shell 'PS1=ask; unset zle_bracketed_paste; fpath=(/usr/share/zsh/vendor-completions $fpath); autoload -U compinit; compinit -D -u; echo REA""DY'
# Not before it asks again: a tab would be the terminal's, not the shell's.
said 'READY*ask'
# What it adds: it draws no more than that.
for line in 'roll back' 'init --skip-f etch' 'env --format ta ble'; do
    zpty -w -n shell "delphi-agent ${line% *}"$'\t'
    said ${line##* } && echo ${${line% *}##* }${line##* }
    zpty -w -n shell $'\025'
done
ZSH
timeout 20 zsh -f /tmp/complete.zsh
section clients
/usr/bin/python3 -ISB - <<'PYTHON'
import sys

sys.path.insert(0, "/usr/lib/delphi-agent")
from agent.aws.credentials import Credentials, Keys
from agent.aws.session import AwsSession
from agent.host.proxy import Proxies
from agent.secret import Secret

who = Credentials(source="nobody", fetch=lambda: Keys(Secret("key"), Secret("secret")))
session = AwsSession("eu-west-1", who, Proxies.of({}), {})
for client in (session.s3(), session.ssm(), session.secrets_manager(), session.ecr("us-east-1"), session.sts(),
               session.autoscaling(), session.cloudformation()):
    print(client.meta.service_model.service_name, client.meta.endpoint_url)
import docker, dotenv, structlog, tenacity

print(sys.modules["docker"].__file__)
PYTHON
section upgrade
at_work
dpkg --install /packages/delphi-agent_0.1.1_all.deb 2>&1 | tee /tmp/upgrade
wait
delphi-agent --version
dpkg --verify delphi-agent
links
section remove
systemctl enable delphi-agent.service 2>/dev/null
mkdir -p /var/lib/delphi-agent /run/delphi-agent /opt/services/api /opt/deployment
touch /var/lib/delphi-agent/state.json /opt/services/api/vars.yaml /opt/deployment/.env
dpkg --remove delphi-agent
cat /usr/local/bin/fetch-config
ls /usr/lib/delphi-agent /usr/bin/delphi-agent 2>/dev/null || true
ls /var/lib/delphi-agent
section purge
dpkg --purge delphi-agent
ls /opt/services/api /opt/deployment/.env /run
rm -r /opt/services /opt/deployment
list >/tmp/after
diff /tmp/before /tmp/after && echo nothing is left
section rpm
rpm --install --nodeps --dbpath /tmp/rpm /packages/delphi-agent-0.1.0-1.noarch.rpm 2>&1
delphi-agent --version
links
rpm --query --requires --package /packages/delphi-agent-0.1.0-1.noarch.rpm
at_work
rpm --upgrade --nodeps --dbpath /tmp/rpm /packages/delphi-agent-0.1.1-1.noarch.rpm 2>&1 | tee /tmp/upgrade
wait
delphi-agent --version
rpm --erase --dbpath /tmp/rpm delphi-agent 2>&1
cat /usr/local/bin/fetch-config
list >/tmp/after
diff /tmp/before /tmp/after && echo nothing is left
section pyz
for number in 1 2 3; do /packages/delphi-agent.pyz --version & done
wait
stat -c '%a %U' /var/cache/delphi-agent-pyz /var/cache/delphi-agent-pyz/*
ls -A /var/cache/delphi-agent-pyz | wc -l
rm -r /var/cache/delphi-agent-pyz
mkdir /tmp/planted
chmod 777 /tmp/planted
ln -s /tmp/planted /var/cache/delphi-agent-pyz
/packages/delphi-agent.pyz --version
ls -A /tmp/planted
section end
