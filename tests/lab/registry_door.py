"""A door in front of the registry that writes down what is asked, and breaks some of it, as ECR does.

    python -m tests.lab.registry_door CERTIFICATE KEY ADDRESS STATE LOG

STATE is a JSON list of faults, read again for every request: a test changes them by replacing it. LOG gets a line per
request. Everything else goes to the registry behind, at ADDRESS and BACK_PORT.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from tests.lab.http_door import Reply, Request, corrupted, cut_short, listen, serve
from tests.lab.tls import server_context

BACK_PORT = 5443
# What belongs to one connection and not to the answer; the length is counted anew.
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date"}


@dataclasses.dataclass(frozen=True)
class RegistryFault:
    """Something that goes wrong with the next requests that match.

    `match` is a regular expression, searched for in "METHOD /v2/app/manifests/1.0". With status 0 the connection is
    reset; with another it is the answer. Kinds other than `answer`: `hang` never answers, `trickle` sends a byte of
    the true answer every half second (both until the fault is gone), `truncate` cuts it in the middle, `corrupt`
    changes a byte of it. `times` None: again and again.
    """

    match: str
    status: int = 0
    code: str = "UNKNOWN"
    message: str = "made up by the lab"
    times: int | None = 1
    kind: Literal["answer", "hang", "trickle", "truncate", "corrupt"] = "answer"
    number: int = 0
    """Set by the lab: tells two equal faults apart."""


class Door:
    def __init__(self, address: str, state: Path, log: Path) -> None:
        self._address, self._state, self._log_file = address, state, log
        self._lock = threading.Lock()
        self._used: dict[int, int] = {}
        # It is this machine, under the registry's name.
        self._tls = ssl._create_unverified_context()

    def respond(self, request: Request) -> Reply:
        fault = self._fault(f"{request.method} {request.target}")
        reply = self._forward(request) if fault is None else self._broken(request, fault)
        with self._lock, self._log_file.open("a") as log:
            log.write(f"{request.method} {request.target} {reply.status}\n")
        return reply

    def _broken(self, request: Request, fault: RegistryFault) -> Reply:
        while fault.kind == "hang" and self._stands(fault):
            time.sleep(0.05)
        if fault.kind == "hang" or (fault.kind, fault.status) == ("answer", 0):
            return Reply(0, reset=True)
        if fault.kind != "answer":
            reply = self._forward(request)
            if fault.kind == "trickle":
                return dataclasses.replace(reply, pause=0.5, pausing=lambda: self._stands(fault))
            return cut_short(reply) if fault.kind == "truncate" else corrupted(reply)
        body = {"errors": [{"code": fault.code, "message": fault.message}]}
        headers = [("Content-Type", "application/json"), ("Docker-Distribution-Api-Version", "registry/2.0")]
        return Reply(fault.status, json.dumps(body).encode(), headers)

    def _stands(self, fault: RegistryFault) -> bool:
        return any(entry["number"] == fault.number for entry in json.loads(self._state.read_text()))

    def _fault(self, asked: str) -> RegistryFault | None:
        entries: list[dict[str, Any]] = json.loads(self._state.read_text())
        with self._lock:
            for fault in (RegistryFault(**entry) for entry in entries):
                used = self._used.get(fault.number, 0)
                if re.search(fault.match, asked) and (fault.times is None or used < fault.times):
                    self._used[fault.number] = used + 1
                    return fault
        return None

    def _forward(self, request: Request) -> Reply:
        connection = http.client.HTTPSConnection(self._address, BACK_PORT, timeout=30, context=self._tls)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            body = answer.read()
        except OSError:
            return Reply(0, reset=True)
        finally:
            connection.close()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
        if request.method == "HEAD":
            kept.append(("Content-Length", answer.headers.get("Content-Length", "0")))
        return Reply(answer.status, body, kept)


def main() -> None:
    certificate, key, address, state, log = sys.argv[1:]
    serve(listen(address, 443), Door(address, Path(state), Path(log)).respond, server_context(certificate, key))


if __name__ == "__main__":
    main()
