"""Who this instance is to AWS: static keys of the bootstrap file, or the role that IMDS gives; and which instance."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from agent.aws.imds import Imds
from agent.aws.session import Credentials, Keys
from agent.host.clock import Deadline
from agent.host.paths import Paths
from agent.steps.bootstrap import Bootstrap

# An address of TEST-NET-1 (RFC 5737): a UDP socket "connected" to it sends nothing, it only makes the kernel choose.
_NOWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How the agent signs its calls, and what the host's state is kept under."""

    text: str
    credentials: Credentials
    instance_id: str
    from_imds: bool


def establish(bootstrap: Bootstrap, imds: Imds, paths: Paths, deadline: Deadline) -> Identity:
    """Static keys when the bootstrap file has them (IMDS is then not asked at all), else the instance's role."""
    if bootstrap.keys is not None:
        static = bootstrap.keys
        keys = Keys(static.access_key_id, static.secret_access_key, static.session_token)
        source = "static keys of the bootstrap file"
        return Identity(
            text=source,
            credentials=Credentials(source=source, fetch=lambda: keys),
            instance_id=local_instance_id(paths),
            from_imds=False,
        )
    imds.wait(deadline)
    role = imds.role(deadline)
    instance_id = imds.get("meta-data/instance-id", deadline) or local_instance_id(paths)
    first = imds.keys(role, deadline)
    unused = [first]

    def fetch() -> Keys:
        # Later calls come from botocore in the middle of a run, when the first keys are about to expire.
        return unused.pop() if unused else imds.keys(role, deadline)

    text = f"role {role} of {instance_id}"
    return Identity(
        text=text, credentials=Credentials(source=text, fetch=fetch), instance_id=instance_id, from_imds=True
    )


def local_instance_id(paths: Paths) -> str:
    """The instance's id without IMDS: the firmware's asset tag, else cloud-init's, else the machine id (design 4)."""
    asset = _first_line(paths.dmi / "board_asset_tag")
    if re.fullmatch(r"i-[0-9a-f]+", asset):
        return asset
    cloud_init = _first_line(paths.at("/var/lib/cloud/data/instance-id"))
    return cloud_init or _first_line(paths.at("/etc/machine-id")) or "unknown"


def _first_line(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").partition("\n")[0].strip()
    except OSError:
        return ""


def addresses(names: set[str], identity: Identity, imds: Imds, deadline: Deadline) -> dict[str, str]:
    """`PRIVATE_IP` and `PUBLIC_IP`, those of `names` that can be found out (contract section 5, step 4)."""
    found: dict[str, str | None] = {}
    if "PRIVATE_IP" in names:
        found["PRIVATE_IP"] = imds.get("meta-data/local-ipv4", deadline) if identity.from_imds else _route_address()
    if "PUBLIC_IP" in names and identity.from_imds:
        found["PUBLIC_IP"] = imds.get("meta-data/public-ipv4", deadline)
    return {name: address.strip() for name, address in found.items() if address}


def _route_address() -> str | None:
    """The address that packets to elsewhere leave with; None on a host without a default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return address
