"""What booting instances have around them: AWS, the metadata service, a registry, names, and an image to boot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.boot.instance import Instance
from tests.lab import images
from tests.lab.aws import Aws
from tests.lab.distance import Distance
from tests.lab.host import CHECKOUT, compose_plugin
from tests.lab.imds import Imds
from tests.lab.machine import Machine
from tests.lab.pki import TRUST_STORE, Pki
from tests.lab.process import LabError
from tests.lab.registry import Registry
from tests.lab.world import TAG, World

# cloud-init of Debian 12 reads DMI to know that it is on EC2; a container has none, and then it asks without a token.
# That of Debian 13 wants udev for interfaces that come later, which a container has not either.
CLOUD_CONFIG = """\
datasource_list: [Ec2, None]
datasource: {Ec2: {strict_id: false, max_wait: 60, timeout: 5}}
network: {config: disabled}
updates: {network: {when: [boot-new-instance]}}
locale: false
ssh_genkeytypes: []
ssh_deletekeys: false
"""
DS_IDENTIFY = "policy: search,found=all,maybe=all,notfound=enabled\n"
NO_USER_DATA = "#cloud-config\n{}\n"
_IMAGE = "/.lab/image"


class Site:
    """A lab machine without an engine of its own: instances boot in it. start() takes some seconds."""

    def __init__(self, rootfs: Path, deb: Path) -> None:
        self.machine = Machine()
        self.pki = Pki(self.machine)
        self.aws = Aws(self.machine)
        self.imds = Imds(self.machine)
        self.registry = Registry(self.machine, self.pki)
        self.world = World(self.machine, self.aws)
        self.distance = Distance(self.machine)
        self._rootfs, self._deb = rootfs, deb
        self._instances: list[Instance] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.machine.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for instance in self._instances:
            instance.remove()
        self.aws.stop()
        self.machine.stop()

    def _start(self) -> None:
        self.machine.start()
        self.pki.install()
        self.aws.start()
        self.registry.start()
        self.imds.prepare()
        self.imds.start()
        self._make_image()
        self.registry.wait_ready()
        self.registry.push(TAG, images.build())
        self.imds.wait_ready()
        self.aws.wait_ready()
        self.world.seed()
        self.imds.allow_without_token("Cloud-Init/", "python-requests/")

    def _make_image(self) -> None:
        """The distribution's root with the agent's package, Compose, and this site's names and certificates on top."""
        top = self.machine.path(_IMAGE)
        for folder in ("upper", "work", "root"):
            (top / folder).mkdir(parents=True)
        # Bound to a name without `:` and `,`, which an overlay's options could not hold.
        self.machine.path("/.lab/rootfs").mkdir()
        self.machine.run(["mount", "--bind", str(self._rootfs), "/.lab/rootfs"], check=True)
        options = f"lowerdir=/.lab/rootfs,upperdir={_IMAGE}/upper,workdir={_IMAGE}/work"
        self.machine.run(["mount", "-t", "overlay", "-o", options, "overlay", f"{_IMAGE}/root"], check=True)
        root = top / "root"
        shutil.copy(self._deb, root / "agent.deb")
        plugins = root / "usr/local/lib/docker/cli-plugins"
        plugins.mkdir(parents=True)
        shutil.copy(compose_plugin(), plugins / "docker-compose")
        (plugins / "docker-compose").chmod(0o755)
        done = self.machine.run(["chroot", f"{_IMAGE}/root", "dpkg", "--install", "/agent.deb"], timeout=120)
        if done.returncode != 0:
            raise LabError(f"the package does not install: {done.stdout}{done.stderr}")
        (root / "agent.deb").unlink()
        with (root / TRUST_STORE.lstrip("/")).open("a") as store:
            store.write(self.pki.authority)
        (root / "etc/hosts").write_text(self.machine.path("/etc/hosts").read_text())
        (root / "etc/cloud/cloud.cfg.d/99_site.cfg").write_text(CLOUD_CONFIG)
        (root / "etc/cloud/ds-identify.cfg").write_text(DS_IDENTIFY)
        self.machine.run(["umount", f"{_IMAGE}/root"], check=True)

    def instance(self, name: str, *, of: Instance | None = None, network: str | None = None) -> Instance:
        """A new disk of the image, or of an image made of the instance `of`, which is off.

        Its launch gives no user data, whatever that of another one gave: who wants some sets it before the boot.
        Whatever else runs in its network is shut down: two that publish one port there do not go together.
        """
        for other in self._instances:
            if other.on and other.network == network:
                other.power_off()
        self.imds.set("user-data", NO_USER_DATA)
        layers = [f"{_IMAGE}/upper", "/.lab/rootfs"]
        if of is not None:
            # Copied: `of` may boot again, and a layer below must not change.
            subprocess.run(
                ["cp", "-a", self.machine.path(of.layer), self.machine.path(f"/.lab/{name}-image")], check=True
            )
            layers.insert(0, f"/.lab/{name}-image")
        made = Instance(self.machine, name, layers, network=network)
        if of is not None:
            source = self.machine.path(f"/.lab/{of.name}/docker")
            shutil.rmtree(self.machine.path(f"/.lab/{name}/docker"))
            subprocess.run(["cp", "-a", source, self.machine.path(f"/.lab/{name}/docker")], check=True)
        self._instances.append(made)
        return made

    def network(self, name: str, address: str) -> str:
        """One more network namespace beside the lab machine's own: another instance's, at `address` (/24)."""
        gateway = address.rpartition(".")[0] + ".1"
        script = f"""
            ip netns add {name}
            ip link add eth0 netns {name} type veth peer name veth-{name} netns aws
            ip -n {name} link set lo up
            ip -n {name} link set eth0 up
            ip -n {name} addr add {address}/24 dev eth0
            ip -n {name} route add 169.254.169.254 dev eth0
            ip -n {name} route add default via {gateway}
            ip -n aws link set veth-{name} up
            ip -n aws addr add {gateway}/24 dev veth-{name}
            ip -n aws addr add 169.254.169.254/32 dev veth-{name}
            nsenter --net=/run/netns/{name} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
        """
        self.machine.run(["sh", "-ec", script], check=True)
        return name


def rootfs(suite: str = "bookworm") -> Path:
    """The distribution's root, made when it is not in the cache."""
    done = subprocess.run(
        ["sh", str(CHECKOUT / "tests/boot/rootfs.sh"), suite], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"no root file system: {done.stderr}")
    return Path(done.stdout.strip())
