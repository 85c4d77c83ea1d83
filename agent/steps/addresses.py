"""`PRIVATE_IP` and `PUBLIC_IP`, where a manifest declares them and nothing gives them (contract section 5, step 4)."""

from __future__ import annotations

import contextlib
import socket

from agent.aws import imds_facts
from agent.aws.imds import Imds
from agent.errors import AgentError
from agent.host.clock import Deadline
from agent.steps.identity import LOOK_SECONDS, Identity

# An address of TEST-NET-1 (RFC 5737): a UDP socket "connected" to it sends nothing, it only makes the kernel choose.
_NOWHERE = ("192.0.2.1", 9)
# What the list of values that cannot be had says of them.
NOT_DETECTED = {
    "PRIVATE_IP": "not found out on this host (the metadata service, else the address of the default route)",
    "PUBLIC_IP": "not found out on this host (only EC2's metadata service knows it)",
}


def detect(names: set[str], identity: Identity, imds: Imds, deadline: Deadline) -> dict[str, str]:
    """Those of `names` that can be found out; only for them is anything asked.

    The public address is on no interface of the host: only the metadata service knows it. Where that is there and not
    needed for anything else (static keys on EC2), it is asked shortly, and never waited for.
    """
    found: dict[str, str | None] = {}
    if "PRIVATE_IP" in names:
        found["PRIVATE_IP"] = imds_facts.private_ip(imds, deadline) if identity.from_imds else _route_address()
    if "PUBLIC_IP" in names and identity.from_imds:
        found["PUBLIC_IP"] = imds_facts.public_ip(imds, deadline)
    elif "PUBLIC_IP" in names and identity.on_ec2 and not imds.disabled:
        with contextlib.suppress(AgentError):
            found["PUBLIC_IP"] = imds_facts.public_ip(imds.hasty(), deadline.share(LOOK_SECONDS))
    return {name: address for name, address in found.items() if address}


def _route_address() -> str | None:
    """The address that packets to elsewhere leave with; None on a host without a default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NOWHERE)
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return address
