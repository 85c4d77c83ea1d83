"""What the firmware says about the machine: an EC2 instance, surely none, or nothing that can be read.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
"""

from __future__ import annotations

import re
from pathlib import Path

from agent.dataclass import dataclass
from agent.host.paths import Paths

_VENDOR = "Amazon EC2"
_INSTANCE = re.compile(r"i-[0-9a-f]+")
# A Xen guest may see its UUID with the bytes of the first group the other way round.
_UUID = re.compile(r"ec2[0-9a-f]|[0-9a-f]{4}2[0-9a-f]ec", re.IGNORECASE)
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Machine:
    """`ec2` is None when nothing could be read (a container, a small hypervisor). `vendor` is for messages."""

    ec2: bool | None
    vendor: str = ""
    instance_id: str = ""


def look(paths: Paths) -> Machine:
    """Read DMI and the hypervisor's UUID; nothing is sent anywhere."""
    vendor = first_line(paths.dmi / "sys_vendor")
    asset = first_line(paths.dmi / "board_asset_tag")
    instance_id = asset if _INSTANCE.fullmatch(asset) else ""
    shown = re.sub(r"[^\x20-\x7e]", "?", vendor)[:_MOST_SHOWN]
    uuids = (paths.dmi / "product_uuid", paths.at("/sys/hypervisor/uuid"))
    names = (vendor, *(first_line(paths.dmi / name) for name in ("bios_vendor", "product_version", "bios_version")))
    if instance_id or vendor == _VENDOR or any(_UUID.match(first_line(path)) for path in uuids):
        return Machine(ec2=True, vendor=shown, instance_id=instance_id)
    if any("amazon" in name.lower() for name in names):
        # Xen instances: "4.11.amazon" (their UUID is for root only).
        return Machine(ec2=True, vendor=shown)
    return Machine(ec2=False, vendor=shown) if vendor else Machine(ec2=None)


def first_line(path: Path) -> str:
    """The first line of a small file, empty when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").partition("\n")[0].strip()
    except OSError:
        return ""
