"""What holds for every test: nothing leaves this machine, no account of whoever runs them is used, quick ones first."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The lab's helpers enter a lab machine's network for a moment (tests/lab/network.py): there, every address is theirs.
_NETWORK = Path("/proc/thread-self/ns/net")
_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback", socket.gethostname()})
_ORDER = ("unit", "packaging", "lab_tests", "boot")


class LeavesTheMachine(RuntimeError):
    """A test tried to talk to something that is not on this machine. Not an OSError, which code may rightly expect."""


class Guard:
    """Refuses every connection and look-up of this process that would leave the machine, and remembers it."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self._home = _NETWORK.stat().st_ino

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """See `sys.addaudithook`: called before the thing is done, in whatever thread does it."""
        match event, arguments:
            case ("socket.connect" | "socket.sendto" | "socket.sendmsg", (socket.socket() as sock, (host, *_))):
                if sock.family in {socket.AF_INET, socket.AF_INET6}:
                    self._check(event, host)
            case ("socket.getaddrinfo" | "socket.gethostbyname" | "socket.gethostbyaddr", (host, *_)):
                self._check(event, host)
            case _:
                return

    def _check(self, event: str, host: object) -> None:
        if not _is_here(host) and _NETWORK.stat().st_ino == self._home:
            self.refused.append(f"{event} {host}")
            raise LeavesTheMachine(f"{event} {host}: tests only talk to this machine (see tests/conftest.py)")


def _is_here(host: object) -> bool:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return not text or text in _NAMES
    return address.is_loopback or address.is_unspecified


_guard = Guard()
# For good: a hook cannot be taken off, so nothing a test does can switch it off either.
sys.addaudithook(_guard)


def pytest_configure() -> None:
    """Forget the caller's AWS account and proxies: what tests start must not find them."""
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests first: what fails in them fails in the lab too, and is told sooner."""
    top = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(top).parts[0] if item.path.is_relative_to(top) else ""
        return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)

    items.sort(key=rank)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured (property `figure`), whichever process they ran in."""
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    reports = [item for item in ended if isinstance(item, pytest.TestReport)]
    figures = [str(value) for item in reports for name, value in item.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for figure in dict.fromkeys(figures):
            terminalreporter.write_line(figure)


@pytest.fixture
def guard() -> Guard:
    """The guard of this session, for its own tests."""
    return _guard


@pytest.fixture(autouse=True)
def _nothing_leaves_the_machine() -> Iterator[None]:
    """A test fails too when the code under test swallowed the refusal."""
    _guard.refused.clear()
    yield
    if _guard.refused:
        pytest.fail(f"tried to leave the machine: {', '.join(_guard.refused)}", pytrace=False)
