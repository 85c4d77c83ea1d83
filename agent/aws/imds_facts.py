"""What the metadata service knows about the instance beside its keys. Each function costs one request, and says which.

The identity document holds most of it at once: instance, account, region, zone and private address.
Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import urllib.parse

from agent.aws.imds import Imds
from agent.aws.imds_role import parsed
from agent.dataclass import dataclass
from agent.host.clock import Deadline

_TAGS = "meta-data/tags/instance"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """The identity document; what it leaves out is empty."""

    instance_id: str = ""
    account: str = ""
    region: str = ""
    zone: str = ""
    private_ip: str = ""


def instance(imds: Imds, deadline: Deadline) -> Instance:
    """One request: `dynamic/instance-identity/document`."""
    path = "dynamic/instance-identity/document"
    document = parsed(imds.get(path, deadline) or "{}", f"reading {path} from the instance metadata service")

    def text(name: str) -> str:
        value = document.get(name)
        return value if isinstance(value, str) else ""

    return Instance(
        instance_id=text("instanceId"),
        account=text("accountId"),
        region=text("region"),
        zone=text("availabilityZone"),
        private_ip=text("privateIp"),
    )


def public_ip(imds: Imds, deadline: Deadline) -> str | None:
    """One request; None for an instance without a public IPv4 address."""
    return _word(imds, "meta-data/public-ipv4", deadline)


def private_ip(imds: Imds, deadline: Deadline) -> str | None:
    """One request: the primary private IPv4 address."""
    return _word(imds, "meta-data/local-ipv4", deadline)


def lifecycle_state(imds: Imds, deadline: Deadline) -> str | None:
    """One request: the state that the Auto Scaling group takes the instance to; None outside of one."""
    return _word(imds, "meta-data/autoscaling/target-lifecycle-state", deadline)


def user_data(imds: Imds, deadline: Deadline) -> str | None:
    """One request; None when the instance was started without user data."""
    return imds.get("user-data", deadline)


def tags(imds: Imds, deadline: Deadline, prefix: str = "") -> dict[str, str] | None:
    """One request, and one for each tag that starts with `prefix`; None when tags are not given to the instance."""
    listing = imds.get(f"{_TAGS}/", deadline)
    if listing is None:
        return None
    names = [name for name in listing.splitlines() if name and name.startswith(prefix)]
    found = {name: imds.get(f"{_TAGS}/{urllib.parse.quote(name, safe=':+=.@_-')}", deadline) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _word(imds: Imds, path: str, deadline: Deadline) -> str | None:
    return (imds.get(path, deadline) or "").strip() or None
