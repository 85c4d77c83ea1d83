"""Other addresses for AWS's services than AWS's own: AWS_ENDPOINT_URL for all of them, AWS_ENDPOINT_URL_S3 for one."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

_ANY = "AWS_ENDPOINT_URL"
# By the SDK's name of each service that the agent asks.
_OWN = {
    "s3": "S3",
    "ssm": "SSM",
    "secretsmanager": "SECRETS_MANAGER",
    "ecr": "ECR",
    "sts": "STS",
    "autoscaling": "AUTOSCALING",
    "cloudformation": "CLOUDFORMATION",
}
_RULE = "must be an address such as http://localhost:4566, with http:// or https:// and a host's name"

# No host that botocore refuses: it has no `_` in one, and no label longer than 63.
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST = rf"(?P<host>{_LABEL}(\.{_LABEL})*\.?|\[(?P<ip>[0-9A-Za-z:.]+)(%[0-9A-Za-z._~-]+)?\])"
_URL = re.compile(rf"https?://([^/?#@\s]*@)?{_HOST}(:(?P<port>[0-9]{{0,5}}))?([/?#]\S*)?", re.IGNORECASE)
_LONGEST_HOST = 255
_MOST_PORT = 65535


def variable_of(service: str, variables: Mapping[str, str]) -> str:
    """The name of the variable that gives the service's address; empty when none does."""
    own = f"{_ANY}_{_OWN[service]}"
    return next((name for name in (own, _ANY) if variables.get(name)), "")


def faults(variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each address that cannot be one; never a part of it."""
    for name in (_ANY, *(f"{_ANY}_{own}" for own in _OWN.values())):
        if variables.get(name) and not _can_be_asked(variables[name]):
            yield f"{name} {_RULE}"


def _can_be_asked(url: str) -> bool:
    match = _URL.fullmatch(url)
    if match is None or int(match["port"] or 0) > _MOST_PORT or len(match["host"]) > _LONGEST_HOST:
        return False
    try:
        ipaddress.IPv6Address(match["ip"] or "::")
    except ValueError:
        return False
    return True
