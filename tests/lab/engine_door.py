"""A door in front of the Docker engine that breaks some of what is asked; run inside the machine.

    python -m tests.lab.engine_door SOCKET STATE

STATE is a JSON object, read again for every request: `match` (a regular expression, searched for in
"METHOD /v1.41/containers/json?..."), `kind` and `times` (null: again and again). Kinds: `reset`; `hang` and `trickle`,
until the state is another; `error` (HTTP 500); `denied` (403, as an authorization plugin says it); `truncate`; and
`leave`: the answer is given, and after it nobody listens any more, until the state is another. Answers that never end
(events, attaching) do not work through it; the agent asks for none. Who goes away before the answer has what it asked
for ended, as with the engine itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import re
import select
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.lab.http_door import Reply, Request, cut_short, serve
from tests.lab.network import UnixConnection

ENGINE = "/var/run/docker.sock"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date"}


class Door:
    def __init__(self, place: Path, state: Path) -> None:
        self._place = place
        self._state = state
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}

    def respond(self, request: Request) -> Reply:
        fault = self._fault(f"{request.method} {request.target}")
        kind = fault.get("kind")
        while kind == "hang" and self._stands(fault):
            time.sleep(0.05)
        if kind in {"hang", "reset"}:
            return Reply(0, reset=True)
        if kind in {"error", "denied"}:
            body = json.dumps({"message": "made up by the lab"}).encode()
            return Reply(500 if kind == "error" else 403, body, [("Content-Type", "application/json")])
        reply = _forward(request)
        if kind == "leave":
            self._leave(fault)
        if kind == "trickle":
            return dataclasses.replace(reply, pause=0.5, pausing=lambda: self._stands(fault))
        return cut_short(reply) if kind == "truncate" else reply

    def _leave(self, fault: dict[str, Any]) -> None:
        away = self._place.with_suffix(".away")
        self._place.rename(away)

        def come_back() -> None:
            while self._stands(fault):
                time.sleep(0.05)
            away.rename(self._place)

        threading.Thread(target=come_back, daemon=True).start()

    def _stands(self, fault: dict[str, Any]) -> bool:
        return bool(json.loads(self._state.read_text()) == fault)

    def _fault(self, asked: str) -> dict[str, Any]:
        """The fault that hits this request; empty when none does."""
        state: dict[str, Any] = json.loads(self._state.read_text())
        if not state:
            return {}
        if state["kind"] == "leave" and self._used.get(state["id"]):
            # Connections that were open are no way in any more either.
            return {**state, "kind": "reset"}
        if not re.search(state["match"], asked):
            return {}
        with self._lock:
            used = self._used.get(state["id"], 0)
            if state["times"] is not None and used >= state["times"]:
                return {}
            self._used[state["id"]] = used + 1
        return state


def _forward(request: Request) -> Reply:
    connection = UnixConnection(ENGINE, timeout=120)
    done = threading.Event()
    threading.Thread(target=_end_with, args=(request.connection, connection, done), daemon=True).start()
    try:
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        connection.request(request.method, request.target, request.body or None, headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return Reply(0, reset=True)
    finally:
        done.set()
        connection.close()
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
    return Reply(answer.status, body, kept)


def _end_with(client: socket.socket, connection: UnixConnection, done: threading.Event) -> None:
    """End the request to the engine when the client is gone."""
    watch = select.poll()
    watch.register(client, select.POLLRDHUP)
    while not done.is_set():
        if watch.poll(100):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            return


def main() -> None:
    place, state = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(128)
    serve(listener, Door(Path(place), Path(state)).respond)


if __name__ == "__main__":
    main()
