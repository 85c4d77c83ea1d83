"""What tags name in an ECR registry now: a HEAD for each, as the OCI distribution specification has it.

A pull of an image that the host has already takes two connections of the engine and a process of Compose, to learn this
one thing. Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#checking-if-content-exists-in-the-registry.
"""

from __future__ import annotations

import contextlib
import queue
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPS_PORT, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING

from agent.aws.ecr import MANIFESTS, Login
from agent.errors import DeadlineExceeded
from agent.host import image_names
from agent.host.side_by_side import SideBySide
from agent.report import record

if TYPE_CHECKING:
    from agent.host.clock import Deadline
    from agent.host.proxy import Proxies

SECONDS, IN_ALL_SECONDS = 3.0, 5.0
"""For connecting to an address and for each answer, and for all: who waits longer is better told by a pull."""
# Connections at once: to open one takes as long as two questions.
_LANES = 3
_OK = 200
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Tags:
    """Asks the registry of a login, and remembers what it said. `trust` is None when there is none to share.

    Nothing here fails: a name that is not of this registry, that has no tag, or that could not be asked about has no
    digest, and is left to a pull, which tells what is wrong.
    """

    def __init__(self, login: Login, trust: ssl.SSLContext | None, proxies: Proxies) -> None:
        self._host = login.registry
        self._trust = trust
        self._login = login
        host, _, port = self._host.partition(":")
        proxy = proxies.for_host(host, int(port or HTTPS_PORT), tls=True)
        self._possible = trust is not None and trust.check_hostname and proxy is None
        self._digests: dict[str, str | None] = {}

    def forget(self) -> None:
        """Ask again from now on: what was said is older than what has become known since."""
        self._digests = {}

    def digests(self, references: Iterable[str], deadline: Deadline) -> Mapping[str, str]:
        """The digest that each of these names has in the registry, where it could be found out; asked once each."""
        every = list(references)
        new = [reference for reference in every if reference not in self._digests and self._is_of_here(reference)]
        if new and self._possible:
            self._digests |= dict.fromkeys(new)
            waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
            for reference in new:
                waiting.put(reference)
            with contextlib.suppress(DeadlineExceeded), SideBySide(deadline.share(IN_ALL_SECONDS)) as jobs:
                for _ in range(min(_LANES, len(new))):
                    jobs.start(f"asking {self._host} for tags", lambda: self._ask_all(waiting))
        found = {reference: self._digests.get(reference) for reference in every}
        return {reference: digest for reference, digest in found.items() if digest is not None}

    def _is_of_here(self, reference: str) -> bool:
        return reference.startswith(f"{self._host}/") and not image_names.pinned(reference)

    def _ask_all(self, waiting: queue.SimpleQueue[str]) -> None:
        """Ask for one after the other by one connection, until that breaks."""
        connection = HTTPSConnection(self._host, timeout=SECONDS, context=self._trust)
        with contextlib.closing(connection), contextlib.suppress(OSError, HTTPException):
            for reference in _taken(waiting):
                self._digests[reference] = self._ask(connection, reference)

    def _ask(self, connection: HTTPSConnection, reference: str) -> str | None:
        """The digest; None when the answer has none. Raises what breaks the connection."""
        path = f"{image_names.repository(reference).removeprefix(self._host)}/manifests/{image_names.tag(reference)}"
        record.count(record.Costs(calls=1))
        doing = record.doing("aws", "ecr:HeadManifest")
        headers = {"Accept": MANIFESTS, "Authorization": self._login.authorization, "User-Agent": "delphi-agent"}
        with doing:
            connection.request("HEAD", f"/v2{path}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != _OK:
                doing.end(f"HTTP {answer.status}")
                return None
        digest = answer.getheader("Docker-Content-Digest", "")
        return digest if _DIGEST.fullmatch(digest) else None


def _taken(waiting: queue.SimpleQueue[str]) -> Iterator[str]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return
