"""Fault cells: the Docker engine, whose every answer goes through a door of the lab (`engine_door`)."""

from __future__ import annotations

import json
import socket
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from tests.lab.host import CHECKOUT
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab_tests.fault_cell import FINE, LATE, NOT_RESTORED, Cell

DOOR, STATE = "/.lab/engine-door.sock", "/.lab/engine-door.json"
_ASIDE = f"{DOOR}.aside"

# Each call, and the codes for a fault that passes and for one that stays. A call that Compose makes too is not tried
# again: Compose does not, and `up` is not reached yet.
_CALLS = {
    "engine ping": ("(GET|HEAD) .*/_ping", FINE, LATE),
    "engine version": ("GET .*/version", FINE, LATE),
    "engine containers": ("GET .*/containers/json", LATE, LATE),
    "engine inspect": (r"GET .*/containers/\w+/json", LATE, LATE),
    # Only for pruning, which is no reason to fail.
    "engine images": ("GET .*/images/json", FINE, FINE),
    "engine image": (r"GET .*/images/.+/json", FINE, LATE),
}
# The engine is gone for good after its answer to this.
_LAST = {
    "after its version": (r"GET /v[\d.]+/version", LATE),
    "after the pull": ("POST .*/images/create", LATE),
    "after the first start": (r"POST .*/containers/\w+/start", NOT_RESTORED),
}


def calls() -> Iterator[Cell]:
    """Each call, broken in each way."""
    for call, (match, once, always) in _CALLS.items():
        # There is nothing in its two bytes that anybody reads.
        unread = FINE if call == "engine ping" else always
        yield _cell(call, match, "reset once", once, kind="reset", times=1)
        yield _cell(call, match, "reset always", always, kind="reset", times=None)
        yield _cell(call, match, "hang", always, kind="hang", times=None)
        yield _cell(call, match, "trickle", unread, kind="trickle", times=None)
        yield _cell(call, match, "500 once", once, kind="error", times=1)
        yield _cell(call, match, "500 always", always, kind="error", times=None)
        yield _cell(call, match, "denied", always, kind="denied", times=None)
        yield _cell(call, match, "truncated always", unread, kind="truncate", times=None)


def gone() -> Iterator[Cell]:
    """An engine that is not there, or not any more."""
    yield Cell("engine", "no socket", LATE, _put_aside)
    yield Cell("engine", "nobody listens", LATE, _leave_a_dead_socket)
    for moment, (match, codes) in _LAST.items():
        yield _cell("engine", match, f"gone {moment}", codes, kind="leave", times=1)


def _cell(call: str, match: str, fault: str, codes: frozenset[int], *, kind: str, times: int | None) -> Cell:
    def plant(lab: Lab) -> None:
        _tell(lab, {"match": match, "kind": kind, "times": times, "id": uuid.uuid4().hex})

    return Cell(call, fault, codes, plant)


def _put_aside(lab: Lab) -> None:
    lab.machine.path(DOOR).rename(lab.machine.path(_ASIDE))


def _leave_a_dead_socket(lab: Lab) -> None:
    _put_aside(lab)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(lab.machine.path(DOOR)))


def open_door(lab: Lab) -> dict[str, str]:
    """Put the door up; the environment in which the agent uses it."""
    _tell(lab, {})
    argv = [sys.executable, "-m", "tests.lab.engine_door", DOOR, STATE]
    lab.machine.start_process(argv, env={"PYTHONPATH": str(CHECKOUT)}, log="engine-door.log", service=True)
    wait_until(lambda: lab.machine.path(DOOR).exists(), "the engine's door")
    return {"DOCKER_HOST": f"unix://{DOOR}"}


def mend(lab: Lab) -> None:
    """Nothing goes wrong any more, and the door is where it was."""
    _tell(lab, {})
    if lab.machine.path(_ASIDE).exists():
        lab.machine.path(_ASIDE).replace(lab.machine.path(DOOR))
    wait_until(lambda: lab.machine.path(DOOR).exists(), "the engine's door")


def _tell(lab: Lab, state: dict[str, Any]) -> None:
    # Replaced, never rewritten: the door must not read half a file.
    file = lab.machine.path(STATE)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(state))
    part.replace(file)
