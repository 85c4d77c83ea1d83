"""GETs of objects past botocore, which takes 2 ms of CPU for each: two thousand files would be four seconds of boot.

Only what goes well goes this way: TLS, no proxy, an answer of 200. Whatever else happens, the SDK is asked for that
object and all after it, with its retries, redirects, renewed keys and its words for what went wrong. Where a bucket is
and how its requests look is taken from the SDK's own listing of it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
import re
import ssl
import urllib.parse
import weakref
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent.aws.content import Piece
from agent.aws.object_wire import Answer, Connection, UnusualError
from agent.aws.sigv4 import SigningKeys, quoted, signed
from agent.dataclass import dataclass
from agent.host.proxy import Proxies
from agent.report import record
from agent.report.spans import Doing

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.client import BaseClient

_HTTPS_PORT = 443
_SCOPE = re.compile(r"^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request,")


@dataclass(frozen=True)
class Place:
    """Where the last listed bucket's objects are: `base` is what comes before their keys in the path."""

    host: str
    port: int
    base: str
    region: str
    agent: str

    def is_of(self, bucket: str) -> bool:
        """Whether it is that of this bucket, by its host name or its path."""
        return self.base == f"/{bucket}/" or (self.base == "/" and self.host.startswith(f"{bucket}."))


@dataclass(frozen=True)
class Opened:
    """An answer of 200: its headers, in lower case, and its body; what breaks there is an `OSError`."""

    headers: Mapping[str, str]
    body: Iterator[Piece]


class DirectReads:
    """Reads objects with connections of its own; safe across threads.

    `trust` is None when there is none to share; `keys` gives those that the SDK would sign with now, for a region;
    `connecting` and `waiting` are seconds, as of a `Connection`.
    """

    def __init__(
        self,
        trust: ssl.SSLContext | None,
        keys: Callable[[str], SigningKeys],
        proxies: Proxies,
        *,
        connecting: float,
        waiting: float,
    ) -> None:
        self._trust, self._keys, self._proxies = trust, keys, proxies
        self._connecting, self._waiting = connecting, waiting
        self._place: Place | None = None
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        weakref.finalize(self, _close, self._idle)

    def watch(self, client: BaseClient) -> None:
        """Learn from this client's listings."""
        client.meta.events.register("before-send.s3.ListObjectsV2", self._learn)

    def give_up(self) -> None:
        """Ask no more: something is not as it should be, and the SDK knows more of that."""
        self._place = None

    def open(self, bucket: str, key: str, etag: str) -> Opened | None:
        """The object as the listing showed it (`If-Match`); None when the SDK is to be asked."""
        place, trust = self._place, self._trust
        if place is None or trust is None or not trust.check_hostname or not place.is_of(bucket):
            return None
        path = place.base + quoted(key)
        headers = {
            "host": place.host if place.port == _HTTPS_PORT else f"{place.host}:{place.port}",
            "if-match": f'"{etag}"',
            "user-agent": place.agent,
            "x-amz-checksum-mode": "ENABLED",
        }
        every = signed(self._keys(place.region), path, headers, dt.datetime.now(dt.UTC))
        sent = self._send(place, trust, path, every)
        if sent is None:
            self.give_up()
            return None
        connection, answer, doing = sent
        return Opened(answer.headers, _until_over(doing, self._body(connection, answer)))

    def _send(
        self, place: Place, trust: ssl.SSLContext, path: str, headers: Mapping[str, str]
    ) -> tuple[Connection, Answer, Doing] | None:
        """An answer of 200, its connection, and what the timeline keeps of it; None for any other end."""
        record.count(record.Costs(calls=1))
        doing = record.doing("aws", "s3:GetObject")
        try:
            connection, answer = self._ask(place, trust, path, headers)
        except (OSError, UnusualError) as error:
            doing.end(type(error).__name__)
            return None
        if answer.status == HTTPStatus.OK:
            record.count(record.Costs(received=answer.length))
            return connection, answer, doing
        doing.end(f"HTTP {answer.status}")
        connection.close()
        return None

    def _ask(
        self, place: Place, trust: ssl.SSLContext, path: str, headers: Mapping[str, str]
    ) -> tuple[Connection, Answer]:
        """By an idle connection; where the server has closed that meanwhile, as it may, by a new one."""
        idle = self._unused(place)
        if idle is not None:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                return idle, _answer(idle, path, headers)
        new = Connection(place.host, place.port, trust, connecting=self._connecting, waiting=self._waiting)
        return new, _answer(new, path, headers)

    def _body(self, connection: Connection, answer: Answer) -> Iterator[Piece]:
        """The pieces; when all were taken, the connection is used again."""
        try:
            yield from connection.body(answer)
        finally:
            if connection.is_idle:
                self._idle.put(connection)
            else:
                connection.close()

    def _unused(self, place: Place) -> Connection | None:
        with contextlib.suppress(queue.Empty):
            while True:
                connection = self._idle.get_nowait()
                if (connection.host, connection.port) == (place.host, place.port):
                    return connection
                connection.close()
        return None

    def _learn(self, request: AWSPreparedRequest, **_: object) -> None:
        """Take from a listing where it goes; nothing when it is not signed in the usual way, or by a proxy."""
        parts = urllib.parse.urlsplit(request.url)
        scope = _SCOPE.match(_text(request.headers.get("Authorization", "")))
        self._place = None
        if parts.scheme == "https" and parts.hostname and scope and self._proxies.for_url(request.url) is None:
            base = f"{parts.path.rstrip('/')}/"
            agent = _text(request.headers.get("User-Agent", ""))
            self._place = Place(parts.hostname, parts.port or _HTTPS_PORT, base, scope[1], agent)


def _answer(connection: Connection, path: str, headers: Mapping[str, str]) -> Answer:
    try:
        return connection.get(path, headers)
    except BaseException:
        connection.close()
        raise


def _until_over(doing: Doing, pieces: Iterator[Piece]) -> Iterator[Piece]:
    with doing:
        yield from pieces


def _close(idle: queue.LifoQueue[Connection]) -> None:
    while not idle.empty():
        idle.get().close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
