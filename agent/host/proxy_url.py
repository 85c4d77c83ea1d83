"""One proxy's address as the bootstrap file has it: whether it can be used, and what of it is secret."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator, Mapping

from agent.secret import Secret

_URL = re.compile(
    r"((?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(//)?((?P<credentials>[^/?#]*)@)?"
    r"(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]]*)(:(?P<port>[^/?#]*))?(?P<rest>.*)",
    re.DOTALL,
)
# Without `://`, what stands before the first colon is a host or a user.
_BARE = re.compile(_URL.pattern.removeprefix(r"((?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?"), re.DOTALL)
# What Go takes unencoded; it makes no request at all with others, and Go is what the Docker engine is written in.
_CREDENTIALS = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")
_PORTS = range(1, 65536)


def fault_of(url: str) -> str:
    """What is wrong with the address, without a word of it; empty when it can be used.

    `http://` and `https://` are known, and none means `http://`; without a port it is 80 or 443, as Go has it.
    """
    return next(_faults(_parts(url)), "")


def _faults(parts: Mapping[str, str]) -> Iterator[str]:
    scheme = parts["scheme"].lower()
    if scheme.startswith("socks"):
        yield "is a SOCKS proxy; only http:// and https:// proxies can be used"
    if scheme not in ("http", "https"):
        yield "must begin with http:// or https://"
    if parts["rest"] not in ("", "/") or not _CREDENTIALS.fullmatch(parts["credentials"]):
        yield "must be http://user:password@host:port, with all but letters and digits of the password as %XX"
    if not parts["host"]:
        yield "has no host"
    if _has_controls(urllib.parse.unquote(parts["credentials"])):
        yield "has a control character in its user or password"
    if not _is_host(parts["host"]):
        yield "has a host that is no name and no address"
    if parts["port_given"] and not _is_port(parts["port"]):
        yield "has a port that is no number from 1 to 65535 (an IPv6 address stands in brackets)"


def normal(url: str) -> str:
    """The same address with its scheme in front, in lower case, and nothing behind the port."""
    parts = _parts(url)
    credentials = f"{parts['credentials']}@" if parts["credentials"] else ""
    port = f":{parts['port']}" if parts["port"] else ""
    return f"{parts['scheme'].lower()}://{credentials}{parts['host']}{port}"


def shown(url: str) -> str:
    """The address as a message names it: host and port."""
    parts = _parts(url)
    return f"{parts['host']}:{parts['port']}" if parts["port"] else parts["host"]


def credentials(url: str) -> tuple[str, str] | None:
    """User and password, decoded; None when the address has neither."""
    pair = _parts(url)["credentials"]
    if not pair:
        return None
    user, _, password = pair.partition(":")
    return urllib.parse.unquote(user), urllib.parse.unquote(password)


def secrets(url: str) -> Iterator[Secret]:
    """What no log may show: the password as it stands and decoded, and the pair that a proxy is sent in base64."""
    pair = credentials(url)
    if pair is None:
        return
    user, password = pair
    raw = _parts(url)["credentials"]
    yield Secret(raw)
    yield Secret(f"{user}:{password}")
    # Some proxies are given a token for a user, and no password.
    yield Secret(raw.partition(":")[2] if password else raw)
    yield Secret(password or user)


def _parts(url: str) -> dict[str, str]:
    match = (_URL if "://" in url else _BARE).fullmatch(url)
    # Every part may be empty, so anything matches.
    found = match.groupdict() if match else {}
    given = "yes" if found.get("port") is not None else ""
    names = ("credentials", "host", "port", "rest")
    return {
        "scheme": found.get("scheme") or "http",
        "port_given": given,
        **{name: found.get(name) or "" for name in names},
    }


def _has_controls(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)  # noqa: PLR2004 - ASCII's


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) in _PORTS


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return bool(_HOST.fullmatch(host))
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True
