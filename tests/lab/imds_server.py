"""A strict IMDSv2, run inside the machine in the network namespace "aws" on the metadata service's real addresses.

As EC2 does: a token needs a PUT with a TTL of 1 to 21600 seconds; a request that came through a proxy
(X-Forwarded-For) gets 403; one without a valid token 401; token replies have the hop limit as their IP TTL, so they do
not reach a container behind a bridge; every reply closes its connection.

    python -m tests.lab.imds_server STATE LOG

STATE is a JSON file, read again for every request: a test changes the world by replacing it. LOG gets a line per
request.
"""

from __future__ import annotations

import email.utils
import json
import re
import secrets
import socket
import sys
import threading
import time
from http.client import responses
from pathlib import Path
from typing import Any

from tests.lab.http_door import Reply, Request, cut_short, listen, serve

ADDRESSES = ("169.254.169.254", "fd00:ec2::254")
SCHEMA_VERSION = re.compile(r"latest|\d{4}-\d\d-\d\d|1\.0")


class MetadataService:
    def __init__(self, state: Path, log: Path) -> None:
        self._state_file, self._log_file = state, log
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, int]] = {}
        """Token -> when it expires (monotonic), and the token epoch in which it was given."""
        self._failed: dict[int, int] = {}
        """Mode generation -> how many requests got 503 in it."""
        self._used: dict[int, int] = {}
        """Number of a fault -> how many requests it has hit."""

    def respond(self, request: Request) -> Reply:
        state = self._state()
        fault = self._fault(f"{request.method} {request.path}", state)
        kind = fault.get("kind", state["mode"])
        if kind == "hang":
            # Silence, for as long as the test wants it; then the connection ends without an answer.
            while (now := self._state())["mode"] == "hang" or fault in now["faults"]:
                time.sleep(0.05)
        if kind in {"hang", "reset"}:
            self._log(request, 0)
            return Reply(0, reset=True)
        status, body, headers = self._answer(request, state, fault)
        self._log(request, status)
        date = email.utils.formatdate(time.time() + state.get("clock", 0), usegmt=True)
        headers = [("Content-Type", "text/plain"), ("Date", date), ("Server", "EC2ws"), *headers]
        reply = Reply(status, body.encode(), headers, close=True, pause=0.3 if kind == "trickle" else 0)
        return cut_short(reply) if kind == "truncate" else reply

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state_file.read_text())
        return state

    def _fault(self, asked: str, state: dict[str, Any]) -> dict[str, Any]:
        """The fault that hits this request; empty when none does."""
        with self._lock:
            for fault in state["faults"]:
                used = self._used.get(fault["number"], 0)
                if re.search(fault["match"], asked) and (fault["times"] is None or used < fault["times"]):
                    self._used[fault["number"]] = used + 1
                    return dict(fault)
        return {}

    def _answer(
        self, request: Request, state: dict[str, Any], fault: dict[str, Any]
    ) -> tuple[int, str, list[tuple[str, str]]]:
        if fault.get("kind") == "status":
            return fault["status"], responses[fault["status"]], []
        if self._unavailable(state):
            return 503, "Service Unavailable", []
        if state["mode"] == "forbidden" or "x-forwarded-for" in request.headers:
            return 403, "Forbidden", []
        if request.method == "PUT":
            return self._give_token(request, state)
        token = request.headers.get("x-aws-ec2-metadata-token", "")
        expires, epoch = self._tokens.get(token, (0.0, -1))
        agent = request.headers.get("user-agent", "")
        trusted = any(agent.startswith(prefix) for prefix in state.get("without_token", ()))
        if not trusted and (expires < time.monotonic() or epoch != state["token_epoch"]):
            return 401, "Unauthorized", []
        return self._get(request.path, state["world"])

    def _unavailable(self, state: dict[str, Any]) -> bool:
        name, _, count = state["mode"].partition(":")
        with self._lock:
            failed = self._failed.get(state["generation"], 0)
            if name != "unavailable" or failed >= int(count):
                return False
            self._failed[state["generation"]] = failed + 1
            return True

    def _give_token(self, request: Request, state: dict[str, Any]) -> tuple[int, str, list[tuple[str, str]]]:
        if request.path != "/latest/api/token":
            return 405, "Method Not Allowed", []
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return 400, "Bad Request", []
        connection, hops = request.connection, state["hop_limit"]
        if connection.family == socket.AF_INET6:
            connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
        else:
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (time.monotonic() + int(ttl), state["token_epoch"])
        return 200, token, [("X-aws-ec2-metadata-token-ttl-seconds", ttl)]

    def _get(self, path: str, world: dict[str, Any]) -> tuple[int, str, list[tuple[str, str]]]:
        version, _, name = path.strip("/").partition("/")
        if not version:
            return 200, "latest", []
        if not SCHEMA_VERSION.fullmatch(version):
            return 404, "Not Found", []
        if name in world:
            value = world[name]
            return 200, value if isinstance(value, str) else json.dumps(value, indent=2), []
        listing = _listing(name, world)
        return (200, "\n".join(listing), []) if listing else (404, "Not Found", [])

    def _log(self, request: Request, status: int) -> None:
        entry = {"time": time.time(), "method": request.method, "path": request.target, "status": status}
        entry |= {"headers": request.headers, "ipv6": request.connection.family == socket.AF_INET6}
        with self._lock, self._log_file.open("a") as log:
            log.write(json.dumps(entry) + "\n")


def _listing(folder: str, world: dict[str, Any]) -> list[str]:
    """The entries of a folder, derived from the names below it; folders end in a slash."""
    prefix = f"{folder}/" if folder else ""
    names = [name[len(prefix) :] for name in world if name.startswith(prefix)]
    return sorted({head + slash for head, slash, _ in (name.partition("/") for name in names)})


def main() -> None:
    service = MetadataService(Path(sys.argv[1]), Path(sys.argv[2]))
    has_ipv6 = Path("/proc/sys/net/ipv6").exists()
    for address in ADDRESSES[: 2 if has_ipv6 else 1]:
        threading.Thread(target=serve, args=(listen(address, 80), service.respond)).start()


if __name__ == "__main__":
    main()
