"""A door in front of the Docker engine that breaks some of what is asked; run inside the machine.

    python -m tests.lab.engine_door SOCKET STATE

STATE is a JSON object, read again for every request: `match` (a regular expression, searched for in
"METHOD /v1.41/containers/json?..."), `kind` (reset, hang, error, truncate) and `times` (null: again and again).
Answers that never end (events, attaching) do not work through it; the agent asks for none.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.lab.http_door import Reply, Request, serve
from tests.lab.network import UnixConnection

ENGINE = "/var/run/docker.sock"
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date"}


class Door:
    def __init__(self, state: Path) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}

    def respond(self, request: Request) -> Reply:
        kind = self._fault(f"{request.method} {request.target}")
        if kind == "hang":
            time.sleep(600)
        if kind in {"hang", "reset"}:
            return Reply(0, reset=True)
        if kind == "error":
            body = json.dumps({"message": "made up by the lab"}).encode()
            return Reply(500, body, [("Content-Type", "application/json")])
        reply = _forward(request)
        if kind == "truncate":
            return Reply(reply.status, reply.body, reply.headers, stop_after=len(reply.body) // 2)
        return reply

    def _fault(self, asked: str) -> str:
        state: dict[str, Any] = json.loads(self._state.read_text())
        if not state or not re.search(state["match"], asked):
            return ""
        with self._lock:
            used = self._used.get(state["id"], 0)
            if state["times"] is not None and used >= state["times"]:
                return ""
            self._used[state["id"]] = used + 1
        return str(state["kind"])


def _forward(request: Request) -> Reply:
    connection = UnixConnection(ENGINE, timeout=120)
    try:
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        connection.request(request.method, request.target, request.body or None, headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return Reply(0, reset=True)
    finally:
        connection.close()
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
    return Reply(answer.status, body, kept)


def main() -> None:
    place, state = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(128)
    serve(listener, Door(Path(state)).respond)


if __name__ == "__main__":
    main()
