"""Which of the agent's own connections go through the proxy of the bootstrap file, by the rules of curl and Go.

Python's own bypass does not know CIDR ranges and sends IMDS through the proxy (contract section 2); botocore uses it.
So the decision is made here, per host name, and botocore is handed the result.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.secret import Secret

# IMDS asked through a proxy answers with the identity of the proxy's host: never, whatever NO_PROXY says.
NEVER_PROXIED = ("169.254.169.254", "fd00:ec2::254", "localhost", "127.0.0.0/8", "::1")


@dataclass(frozen=True)
class Proxies:
    """The proxy for `http:` and for `https:` (a URL that may hold a password), and who is reached without."""

    http: Secret | None = None
    https: Secret | None = None
    bypass: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Proxies:
        """From HTTP_PROXY, HTTPS_PROXY, NO_PROXY; the lower-case names count when the upper-case ones are unset."""

        def value(name: str) -> str:
            return variables.get(name) or variables.get(name.lower()) or ""

        http, https = value("HTTP_PROXY"), value("HTTPS_PROXY")
        bypass = tuple(part.strip() for part in value("NO_PROXY").split(",") if part.strip())
        return cls(Secret(http) if http else None, Secret(https) if https else None, bypass)

    def for_host(self, host: str, port: int, *, tls: bool) -> Secret | None:
        """The proxy to use for a connection to this host and port, or None for a direct one."""
        proxy = self.https if tls else self.http
        if proxy is None or any(_matches(rule, host, port) for rule in (*NEVER_PROXIED, *self.bypass)):
            return None
        return proxy


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    host = host.strip("[]").rstrip(".").lower()
    rule = rule.lower()
    name, wanted = _split_port(rule)
    if wanted is not None and wanted != port:
        return False
    address = _address(host)
    if address is not None:
        return _in_network(address, name)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(rule: str) -> tuple[str, int | None]:
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        port = rest.removeprefix(":")
    elif rule.count(":") == 1:
        name, _, port = rule.partition(":")
    else:
        name, port = rule, ""
    return name, int(port) if port.isdecimal() else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, rule: str) -> bool:
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
