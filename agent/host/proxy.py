"""Which of the agent's own connections go through the proxy of the bootstrap file, by the rules of curl and Go.

Python's own bypass does not know CIDR ranges and sends IMDS through the proxy (contract section 2); botocore uses it.
So the decision is made here, per address, and botocore is handed the result. Where curl and Go differ, the agent does
what both would be meant to do (`.example.com` is for example.com too, blanks separate), and the Docker engine, which is
written in Go, is given the same rules in Go's spelling.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import field

from agent.dataclass import dataclass
from agent.host import proxy_url
from agent.secret import Secret

# IMDS asked through a proxy answers with the identity of the proxy's host: never, whatever NO_PROXY says.
NEVER_PROXIED = ("169.254.169.254", "fd00:ec2::254", "localhost", "127.0.0.0/8", "::1")
_URLS = ("HTTP_PROXY", "HTTPS_PROXY")
_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Proxies:
    """The proxy for `http:` and for `https:` (a URL that may hold a password), and who is reached without."""

    http: Secret | None = None
    https: Secret | None = None
    bypass: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Proxies:
        """From HTTP_PROXY, HTTPS_PROXY, NO_PROXY; the lower-case names count when the upper-case ones are unset.

        That is Go's order; curl takes the lower-case names first. A URL without a scheme is one of `http://`.
        """
        http, https = (Secret(proxy_url.normal(url)) if url else None for url in (_value(variables, n) for n in _URLS))
        bypass = tuple(part for part in re.split(r"[,\s]+", _value(variables, "NO_PROXY")) if part)
        return cls(http, https, bypass)

    def for_host(self, host: str, port: int, *, tls: bool) -> Secret | None:
        """The proxy to use for a connection to this host and port, or None for a direct one."""
        proxy = self.https if tls else self.http
        if proxy is None or any(_matches(rule, host, port) for rule in (*NEVER_PROXIED, *self.bypass)):
            return None
        return proxy

    def for_url(self, url: str) -> Secret | None:
        """The same for whatever this address leads to."""
        parts = urllib.parse.urlsplit(url)
        tls = parts.scheme == "https"
        return self.for_host(parts.hostname or "", parts.port or (443 if tls else 80), tls=tls)

    @property
    def rules_for_engine(self) -> str:
        """NO_PROXY as Go reads it the same way, with what is never proxied; rules that fit nothing are left out."""
        spelled = (_as_go_spells_it(rule) for rule in (*NEVER_PROXIED, *self.bypass))
        return ",".join(dict.fromkeys(rule for rule in spelled if rule))


def faults(variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each proxy address that cannot be used; never a part of the address."""
    for name in (*_URLS, *(name.lower() for name in _URLS)):
        fault = proxy_url.fault_of(variables[name]) if variables.get(name) else ""
        if fault:
            yield f"{name} {fault}"


def secrets(variables: Mapping[str, str]) -> Iterator[Secret]:
    """What no log may show of the proxies' addresses."""
    for name in (*_URLS, *(name.lower() for name in _URLS)):
        yield from proxy_url.secrets(variables.get(name, ""))


def _value(variables: Mapping[str, str], name: str) -> str:
    return variables.get(name) or variables.get(name.lower()) or ""


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    host = host.strip("[]").rstrip(".").lower()
    name, wanted = _split_port(rule.lower())
    if wanted not in ("", str(port)):
        return False
    address = _address(host)
    if address is not None:
        return _in_network(address, name)
    below = name.removeprefix("*.").strip(".")
    # `*.` asks for what is below the name, as in Go; a dot alone does not, as in curl.
    itself = host == below and not name.startswith("*.")
    return bool(below) and (itself or host.endswith(f".{below}"))


def _split_port(rule: str) -> tuple[str, str]:
    if rule.startswith("["):
        name, _, rest = rule[1:].partition("]")
        return name, rest.removeprefix(":")
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # The same host, written as IPv6.
    return getattr(address, "ipv4_mapped", None) or address


def _in_network(address: _Address, rule: str) -> bool:
    try:
        return address in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False


def _as_go_spells_it(rule: str) -> str:
    """The rule for Go, which knows no trailing dots, and takes a leading dot to leave out the name itself."""
    if rule == "*":
        return rule
    name, port = _split_port(rule.lower())
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        name = name.strip(".")
        known = _NAME.fullmatch(name) is not None and (not port or (port.isascii() and port.isdecimal()))
        return f"{name}:{port}" * known if port else name * known
    if not port:
        return name
    # Go has no ranges with a port.
    return "" if "/" in name else f"[{name}]:{port}" if network.version == 6 else f"{name}:{port}"  # noqa: PLR2004 - IPv6
