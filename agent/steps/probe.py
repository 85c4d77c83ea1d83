"""One attempt at a check that a bundle declares: over HTTP, over TCP, or by a command that has to end with 0.

Requests are direct, whatever proxy the bootstrap file names, and a redirect is an answer like any other.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import urlsplit

from agent.dataclass import dataclass
from agent.errors import AgentError, DeadlineExceeded, HostError
from agent.host.clock import Deadline
from agent.host.command import Command, Commands
from agent.secret import Secret
from agent.steps.check import Check

# One answer is not waited for longer than this: the next attempt may be luckier.
ANSWER_SECONDS = 5.0
# Also the last attempt, at the deadline, has this long.
LEAST_SECONDS = 0.25
# Of an answer's body so much is read, so that secrets in it can be found whole, and so much is told.
READ_BYTES, TOLD_CHARACTERS = 65_536, 300
TOLD_LINES = 10


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A check that can be run: `target` with every variable filled in, so it is never shown."""

    check: Check
    target: Secret
    within: float


@dataclass(frozen=True)
class Around:
    """What probes need of the host: how children run, where, with which environment; `clean` takes secrets out."""

    commands: Commands
    folder: Path
    env: Mapping[str, Secret] = field(repr=False)
    clean: Callable[[str], str]


@dataclass(frozen=True)
class Fault:
    """Why an attempt did not pass; `final` when another one cannot pass either."""

    cause: str
    details: tuple[str, ...] = ()
    final: bool = False


def attempt(probe: Probe, around: Around, deadline: Deadline) -> Fault | None:
    """Ask once; None when it passed."""
    seconds = min(ANSWER_SECONDS, max(deadline.left(), LEAST_SECONDS))
    if probe.check.kind == "http":
        return _http(probe, around.clean, Deadline.after(deadline.clock, seconds))
    if probe.check.kind == "tcp":
        return _tcp(probe, seconds)
    return _command(probe.check, around, deadline)


def _http(probe: Probe, clean: Callable[[str], str], deadline: Deadline) -> Fault | None:
    url = urlsplit(probe.target.reveal())
    tls = ssl.create_default_context() if url.scheme == "https" else None
    # With a port of its own, so that http.client looks for none in an IPv6 address.
    host, port = str(url.hostname), url.port or (443 if tls else 80)
    connection = (
        http.client.HTTPSConnection(host, port, timeout=deadline.seconds, context=tls)
        if tls
        else http.client.HTTPConnection(host, port, timeout=deadline.seconds)
    )
    try:
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        connection.request("GET", path, headers={"Accept": "*/*", "User-Agent": "delphi-agent"})
        answer = connection.getresponse()
        if any(answer.status in accepted for accepted in probe.check.status):
            return None
        return Fault(f"answered {answer.status} {clean(answer.reason)}".rstrip(), (_told(answer, clean, deadline),))
    except (OSError, http.client.HTTPException) as error:
        return Fault(_why(error))
    finally:
        connection.close()


def _told(answer: http.client.HTTPResponse, clean: Callable[[str], str], deadline: Deadline) -> str:
    """The beginning of a body. A secret that had only come in part could not be found in it, so it has to be whole."""
    body, ended = b"", False
    with contextlib.suppress(OSError, http.client.HTTPException):
        while len(body) < READ_BYTES and not ended and deadline.left() > 0:
            piece = answer.read1(READ_BYTES)
            body, ended = body + piece, not piece
    # `length` is what an answer has promised and not sent.
    if len(body) < READ_BYTES and (not ended or answer.length):
        return "its body did not come whole"
    text = clean(body.decode("utf-8", "replace")).strip()
    return f"it begins: {text[:TOLD_CHARACTERS]}" if text else "its body is empty"


def _tcp(probe: Probe, seconds: float) -> Fault | None:
    host, _, port = probe.target.reveal().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
    except OSError as error:
        return Fault(_why(error))
    return None


def _why(error: Exception) -> str:
    """The system's word for a connection that failed; never one that holds the address, which may hold a value."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, http.client.HTTPException):
        return f"answered no valid HTTP ({type(error).__name__})"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _command(check: Check, around: Around, deadline: Deadline) -> Fault | None:
    try:
        finished = around.commands.run(Command(argv=check.argv, env=around.env, cwd=around.folder), deadline)
    except DeadlineExceeded as error:
        return Fault("did not end in time", (error.cause,), final=False)
    except HostError as error:
        return Fault(f"cannot be started: {error.cause}", final=True)
    except AgentError as error:
        return Fault(error.cause)
    if finished.ok:
        return None
    return Fault(f"ended with {finished.status}", tuple(around.clean(line) for line in finished.tail(TOLD_LINES)))
