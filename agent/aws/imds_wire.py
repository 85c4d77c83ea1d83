"""One request to the metadata service: direct, bounded as a whole, and with the reason when no answer comes.

Direct: `http.client` does not look at any proxy variable. Bounded: a socket's timeout holds for one read only, so a
server that sends a byte now and then could hold a boot for ever; here connection, request and every read share one
bound.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import errno
import http.client
import io
import socket
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from agent.dataclass import dataclass
from agent.errors import BootstrapError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ADDRESSES = ("http://169.254.169.254", "http://[fd00:ec2::254]")
CONFIGURED = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
# User data has at most 16 KiB, nothing else comes near it.
_MOST_BYTES = 1 << 20
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

_ENABLE_STEP = (
    "on EC2: enable the metadata service (HttpEndpoint=enabled, HttpTokens=required) and look at the host's routes and"
    " firewall; elsewhere: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the bootstrap file"
)
_HOPS_STEP = (
    "run it on the host itself, or allow one hop more:"
    " aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID"
)
_LATER_STEP = "the service itself fails; wait a minute, then run it again; if it stays so, stop and start the instance"


class NoAnswerError(Exception):
    """Worth another try. Of several, the one with the highest `weight` says most about the cause."""

    def __init__(self, text: str, weight: int = 0, next_step: str = _ENABLE_STEP) -> None:
        super().__init__(text)
        self.weight = weight
        self.next_step = next_step


@dataclass(frozen=True)
class Answer:
    """What the service said; `date` is its own clock, when it gave one."""

    status: int
    body: str
    date: dt.datetime | None


@dataclass(frozen=True)
class Endpoint:
    """Where the service is: `url` for people, the rest for the socket."""

    url: str
    host: str
    port: int
    path: str


def endpoints(variables: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The configured endpoint alone, else the two addresses of EC2. Raises `BootstrapError` for one that cannot be."""
    configured = variables.get(CONFIGURED, "").strip().rstrip("/")
    return tuple(_endpoint(url) for url in ((configured,) if configured else ADDRESSES))


def _endpoint(url: str) -> Endpoint:
    try:
        parts = urllib.parse.urlsplit(url)
        port = 80 if parts.port is None else parts.port
    except ValueError as error:
        raise _unusable("its port or its address is none") from error
    if parts.scheme != "http" or not parts.hostname or not port:
        raise _unusable("it is not http:// with a host and, if need be, a port from 1 to 65535")
    if parts.username is not None or parts.query or parts.fragment or not url.isascii() or not url.isprintable():
        raise _unusable("it holds more than a host, a port and a path")
    if " " in url:
        raise _unusable("it holds a blank")
    return Endpoint(url, parts.hostname, port, parts.path)


def _unusable(cause: str) -> BootstrapError:
    return BootstrapError(
        f"reading {CONFIGURED}",
        cause,
        "correct it, or take it out of the bootstrap file and of the environment: on EC2 it is not needed",
    )


def ask(endpoint: Endpoint, method: str, path: str, headers: Mapping[str, str], seconds: float) -> Answer:
    """Send one request and read its whole answer within `seconds`; `NoAnswerError` with the reason otherwise."""
    until = time.monotonic() + seconds
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=seconds)
    connected = False
    try:
        connection.connect()
        connected = True
        connection.request(method, f"{endpoint.path}{path}", headers={**headers, "Connection": "close"})
        # A response wants of a socket only that it can be read like a file.
        stream = cast("socket.socket", _Bounded(connection.sock, until))
        answer = http.client.HTTPResponse(stream, method=method)
        answer.begin()
        body = answer.read(_MOST_BYTES)
        if answer.length and len(body) < _MOST_BYTES:
            # A read with a bound does not complain of that by itself.
            raise NoAnswerError(f"its answer breaks off after {len(body)} bytes", 2, _LATER_STEP)
        return Answer(answer.status, body.decode("utf-8", "replace"), _date(answer.headers.get("Date")))
    except TimeoutError as error:
        raise _late(method, seconds, connected=connected) from error
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        raise _broken(error) from error
    finally:
        connection.close()


def of_status(status: int, what: str) -> NoAnswerError:
    """The failure that an HTTP status is which may pass."""
    return NoAnswerError(f"HTTP {status}{what}", 3, _LATER_STEP)


def _late(method: str, seconds: float, *, connected: bool) -> NoAnswerError:
    if not connected:
        said = f"no connection within {seconds:.0f} s: something drops the packets (a firewall, a route)"
        return NoAnswerError(said, 1)
    said = f"no answer within {seconds:.0f} s"
    if method != "PUT":
        return NoAnswerError(said, 2)
    # Only the answer with the token has the hop limit as its TTL; the handshake has not.
    return NoAnswerError(f"{said}; it accepts connections, so in a container the hop limit is too low", 2, _HOPS_STEP)


def _broken(error: OSError | UnicodeError | http.client.HTTPException) -> NoAnswerError:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    number = getattr(error, "errno", None)
    if isinstance(error, http.client.HTTPException):
        return NoAnswerError(f"what answers there does not speak HTTP ({type(error).__name__})", 2)
    if number in _NO_ROUTE:
        return NoAnswerError(f"there is no route to it ({said}): is the network up?", 0)
    return NoAnswerError(said, 1)


def _date(text: str | None) -> dt.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


class _Bounded(io.RawIOBase):
    """The reading end of a socket with one bound for all reads."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)
