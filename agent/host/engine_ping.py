"""Whether the Docker engine answers, asked without its SDK: that takes 50 ms to load, which can wait."""

from __future__ import annotations

import socket
from http.client import OK, HTTPConnection, HTTPException

SECONDS = 1.0
_UNIX = "unix://"


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def answers(address: str, seconds: float = SECONDS) -> bool:
    """Whether the engine at `unix://PATH` says that it is well, each wait for it bounded; False for any other address.

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
