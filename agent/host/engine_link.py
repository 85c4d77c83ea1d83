"""The Docker engine, reached: whether it answers, its API's client, bounds for answers, errors in its own words."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from http.client import OK, HTTPConnection, HTTPException
from typing import Any

from agent.errors import DeadlineExceeded, EngineError
from agent.host import retry
from agent.host.bounded import Bounded
from agent.host.clock import Deadline
from agent.host.side_by_side import within

ANSWER_SECONDS = 30.0
LAST_SECONDS = 1.0
PING_SECONDS = 1.0
_UNIX = "unix://"
# A boot waits this long for an engine that is still starting.
READY_SECONDS = 60.0


class EngineLink:
    """The engine at `address` (`unix://...` or `tcp://...`); no call lasts longer than `deadline` has left."""

    def __init__(self, address: str, deadline: Deadline) -> None:
        self.address = address
        self._deadline = deadline
        self._api: Bounded | None = None

    def wait_ready(self, deadline: Deadline, tell: Callable[[BaseException], None]) -> str:
        """Its version, as soon as it answers; `EngineError` when it does not in time."""
        share = deadline.share(READY_SECONDS)
        try:
            return retry.until(share, self._version, on=(EngineError,), tell=tell, most=1.0)
        except EngineError as error:
            raise EngineError(
                f"waiting for the Docker engine at {self.address}",
                f"{error.cause} (for {share.seconds:.0f} s)",
                "start it (`systemctl start docker`) and see why it is down (`journalctl -u docker`)",
            ) from error

    def _version(self) -> str:
        with self._asking("asking the Docker engine for its version"):
            version: str = self._client().version()["Version"]
            return version

    def _client(self) -> Any:  # noqa: ANN401 - the SDK's stubs type half of its calls
        if self._api is None:
            self._api = Bounded(within(self._patience(), "reaching the Docker engine", self._connect))
        self._api.patience = self._patience()
        return self._api

    def _connect(self) -> Any:  # noqa: ANN401 - see _client
        import docker

        # "auto": engines from 29 on refuse old versions, those before 24 do not know new ones.
        return docker.APIClient(base_url=self.address, version="auto", timeout=int(ANSWER_SECONDS))

    def _patience(self) -> Deadline:
        """For one answer: also after the deadline some, for the evidence of what went wrong."""
        seconds = min(ANSWER_SECONDS, max(self._deadline.left(), LAST_SECONDS))
        return Deadline.after(self._deadline.clock, seconds)

    @contextlib.contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        import docker.errors
        import requests.exceptions

        try:
            yield
        # The SDK reads the answers itself: one that is nested too deep is as bad as one that is no JSON.
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            RecursionError,
            DeadlineExceeded,
        ) as error:
            raise EngineError(
                doing, _root_cause(error), "see why the engine is in trouble: `journalctl -u docker`, `docker info`"
            ) from error


def _root_cause(error: BaseException) -> str:
    """The system's own words (`Connection refused`), which the SDK wraps three times."""
    if isinstance(error, DeadlineExceeded):
        return error.cause.replace("not done", "no whole answer")
    explanation = getattr(error, "explanation", None)
    if explanation:
        return str(explanation)
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        nested = next((item for item in cause.args if isinstance(item, BaseException)), None)
        cause = nested or cause.__cause__ or cause.__context__
    return str(error)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def answers(address: str, seconds: float = PING_SECONDS) -> bool:
    """Whether the engine at `unix://PATH` says that it is well, each wait for it bounded; False for any other address.

    Asked without the SDK: that takes 50 ms to load, which can wait.
    Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/System/operation/SystemPing.
    """
    if not address.startswith(_UNIX):
        return False
    connection = _UnixConnection(address.removeprefix(_UNIX), seconds)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        return answer.status == OK and answer.read(2) == b"OK"
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
