"""Hand-written stand-ins: small, and anything that they do not expect is an `AssertionError`."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.aws.s3 import RemoteObject
from agent.host.clock import Deadline
from agent.host.command import Command, Finished
from agent.host.engine_answers import Container, Image
from agent.report.record import Costs, Ending, Level, RunHead, Step

EPOCH = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


class FakeClock:
    """Time that passes only in `sleep`; every sleep is kept."""

    def __init__(self, start: float = 1000.0) -> None:
        self.sleeps: list[float] = []
        self._start = start
        self._passed = 0.0

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._start + self._passed

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0, "slept a negative time"
        self.sleeps.append(seconds)
        self._passed += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass without anybody having slept."""
        self._passed += seconds

    def deadline(self, seconds: float = 300.0) -> Deadline:
        return Deadline.after(self, seconds)


@dataclass
class _Answer:
    words: tuple[str, ...]
    status: int
    out: bytes
    err: bytes
    does: Callable[[Command], None] | None


class FakeCommands:
    """Answers the command lines that it was told of, each as often as it was told; the end of an argv is enough."""

    def __init__(self) -> None:
        self.ran: list[Command] = []
        self._expected: list[_Answer] = []

    def expect(
        self,
        *words: str,
        status: int = 0,
        out: bytes = b"",
        err: bytes = b"",
        does: Callable[[Command], None] | None = None,
    ) -> None:
        self._expected.append(_Answer(words, status, out, err, does))

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        assert deadline.left() > 0, f"`{command}` was started after its deadline"
        for answer in self._expected:
            if command.argv[-len(answer.words) :] == answer.words:
                self._expected.remove(answer)
                self.ran.append(command)
                if answer.does is not None:
                    answer.does(command)
                for line in answer.err.decode().splitlines():
                    if on_line is not None and line.strip():
                        on_line(line.strip())
                return Finished(command, answer.status, answer.out, answer.err)
        raise AssertionError(f"unexpected command: {command}")

    def assert_all_ran(self) -> None:
        assert [answer.words for answer in self._expected] == [], "these commands never came"


HEALTHY = Container(
    id="c1",
    name="api-api-1",
    service="api",
    image="sha256:1",
    state="running",
    exit_code=0,
    restarts=0,
    restart_policy="unless-stopped",
    started=EPOCH,
    health="healthy",
)


class FakeEngine:
    """Containers and images of one project. Each look gives the next of `looks`, the last one again and again."""

    def __init__(
        self,
        *looks: Sequence[Container],
        project: str = "api",
        logs: Mapping[str, Sequence[str]] | None = None,
        images: Sequence[Image] = (),
        in_use: Sequence[str] = (),
        held: Sequence[str] = (),
    ) -> None:
        self.looks = list(looks)
        self.removed: list[str] = []
        self._project = project
        self._logs = logs or {}
        self._images = list(images)
        self._in_use = set(in_use)
        self._held = set(held)

    def containers(self, project: str) -> list[Container]:
        assert project == self._project
        assert self.looks, "nobody said what the engine sees"
        return list(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def log_tail(self, container: Container, lines: int) -> list[str]:
        assert container.name in self._logs, f"the log of {container.name} was not expected to be read"
        return list(self._logs[container.name])[-lines:]

    def images(self) -> list[Image]:
        return list(self._images)

    def images_in_use(self) -> set[str]:
        return set(self._in_use)

    def remove_image(self, reference: str) -> bool:
        known = {name for image in self._images for name in (image.id, *image.tags)}
        assert reference in known, f"{reference} is no image of this host"
        if reference in self._held:
            return False
        self.removed.append(reference)
        return True


class FakeBucket:
    """Objects by key. Counts what is asked; `broken` keys raise what they are given."""

    name = "delphi-config"

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})
        self.broken: dict[str, Exception] = {}
        self.downloaded: list[str] = []
        self._lock = threading.Lock()

    def _remote(self, key: str) -> RemoteObject:
        content = self.objects[key]
        return RemoteObject(key, len(content), hashlib.md5(content, usedforsecurity=False).hexdigest())

    def listing(self, prefix: str) -> list[RemoteObject]:
        assert prefix.endswith("/"), f"the prefix {prefix} also lists its neighbours"
        return [self._remote(key) for key in sorted(self.objects) if key.startswith(prefix)]

    def folders(self, prefix: str) -> list[str]:
        assert prefix.endswith("/")
        rests = {key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)}
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def holds(self, prefix: str) -> bool:
        assert prefix.endswith("/")
        return any(key.startswith(prefix) for key in self.objects)

    def read(self, item: RemoteObject) -> bytes:
        assert item == self._remote(item.key), f"{item.key} was not listed like this"
        return self.objects[item.key]

    def download(self, item: RemoteObject, path: Path) -> str:
        if item.key in self.broken:
            raise self.broken[item.key]
        content = self.read(item)
        with path.open("xb") as file:
            file.write(content)
        with self._lock:
            self.downloaded.append(item.key)
        return hashlib.sha256(content).hexdigest()


class Sayings:
    """A sink that keeps what it is told, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.costs = Costs()

    def began(self, head: RunHead) -> None:
        self.lines.append(f"began {head.command}")

    def started(self, step: Step) -> None:
        self.lines.append(f"started {step.name}")

    def progressed(self, step: Step) -> None:
        self.lines.append(f"progressed {step.name}: {step.detail or '-'}, {step.waiting_for or '-'}")

    def ended(self, step: Step) -> None:
        self.lines.append(f"{step.state} {step.name}")

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        self.lines.append(f"{level} {event}: {text}")

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        self.lines.append(f"finished {ending.outcome} {ending.exit_code}")
        self.costs = costs


HEAD = RunHead(
    id="0123456789ab",
    command="delphi-agent init",
    pid=1,
    user="ubuntu (sudo) on api-1",
    started_at="2026-01-02T03:04:05.000+00:00",
    deadline_seconds=300.0,
)


def head(pid: int) -> RunHead:
    return replace(HEAD, pid=pid)


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def trickling_server(head: bytes, pause: float = 0.05) -> Iterator[str]:
    """A server that sends `head` and then a byte now and then, for ever."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(head)
                    while True:
                        connection.sendall(b"x")
                        time.sleep(pause)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def refusing_address() -> str:
    """An address of this host where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
