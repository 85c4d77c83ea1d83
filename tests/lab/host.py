"""What a lab needs of the host it runs on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.lab.process import SYSTEM_PATH, LabError

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = ("unshare", "nsenter", "ip", "dockerd", "docker", "docker-registry", "htpasswd", "busybox", "iptables")


def compose_plugin() -> Path:
    return Path(os.environ.get("DELPHI_LAB_CACHE", "/var/cache/delphi-agent-lab")) / "docker-compose"


def check_host() -> None:
    """Raise a LabError that says what to do when this host cannot run a lab."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root (namespaces, mounts, a Docker engine): run the lab tests as root")
    missing = [tool for tool in TOOLS if shutil.which(tool, path=SYSTEM_PATH) is None]
    if not compose_plugin().exists():
        missing.append(str(compose_plugin()))
    if missing:
        raise LabError(f"missing on this host: {', '.join(missing)}; run tests/lab/install.sh")


def foreign_folders() -> list[str]:
    """The folders of this Python that an overlay on / would not show, being on other file systems."""
    root = Path("/").stat().st_dev
    wanted = dict.fromkeys([sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent)])
    return [folder for folder in wanted if Path(folder).stat().st_dev != root]
