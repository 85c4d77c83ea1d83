"""Every call of a run, broken in every way: the end is the right one, in time, with nothing lost and nothing told.

Each cell is a whole `init` on a host with a verified release, whose bundle and image have just changed. A sample that
changes from day to day; with DELPHI_LONG=1 every cell, with DELPHI_CELLS=REGEX those whose names have a match for it
(`DELPHI_CELLS='^engine .*hang'`). The table of what was seen is in the summary of the test run.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import images
from tests.lab.lab import Lab
from tests.lab.world import BUNDLE, TAG, canaries
from tests.lab_tests import faults_engine, reports
from tests.lab_tests.deploys import SERVICES, inspect
from tests.lab_tests.fault_cell import FINE, INVALID, Cell
from tests.lab_tests.faults import cells, mend
from tests.lab_tests.leaks import Traced, leaks

LONG = bool(os.environ.get("DELPHI_LONG"))
CHOSEN = os.environ.get("DELPHI_CELLS", "")
# For runs that have to end late, and for those that have to come to an end of their own in spite of the fault.
SHORT, ENOUGH = 8, 40
# The restore's reserve, and what is granted beyond the deadline.
RESERVE, GRACE = 120, 5
SAMPLE = 8


def wanted() -> list[Cell]:
    """The cells that are asked for by name, or all, or today's sample: one of each part of the table."""
    every = cells()
    if CHOSEN:
        chosen = [cell for cell in every if re.search(CHOSEN, cell.name)]
        assert chosen, f"no cell matches {CHOSEN!r}"
        return chosen
    if LONG:
        return every
    chance = random.Random(dt.datetime.now(dt.UTC).date().toordinal())
    size = len(every) / SAMPLE
    return [every[int(size * (part + chance.random()))] for part in range(SAMPLE)]


class Host:
    """A host with a verified release; every `change` gives it something to deploy."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.turn = 0
        self.said = ""
        self.table: list[str] = []
        self.env = faults_engine.open_door(lab)
        self.hosts = lab.machine.path("/etc/hosts").read_text()
        done = lab.agent("init", env=self.env)
        assert done.returncode == 0, done.stderr
        self.live = self.caddyfile()

    def caddyfile(self) -> str:
        return self.lab.machine.path(f"{SERVICES}/api/Caddyfile").read_text()

    def change(self) -> str:
        """A new file and a new image under the same tag; what the file will hold."""
        self.turn += 1
        text = f"turn {self.turn}\n" * 20
        self.lab.world.put_file("api/Caddyfile", text)
        # A manifest that the host has already is not fetched.
        manifest = (BUNDLE / "api/vars.yaml").read_text()
        self.lab.world.put_file("api/vars.yaml", f"{manifest}# turn {self.turn}\n")
        self.lab.registry.push(TAG, images.build(files={"/www/turn": str(self.turn)}))
        return text

    def run(self, cell: Cell) -> str:
        """One cell; what is wrong with how it ended, or nothing."""
        text = self.change()
        cell.plant(self.lab)
        deadline = ENOUGH if cell.codes in {FINE, INVALID} else SHORT
        began = time.monotonic()
        done = self.lab.agent("init", "--deadline", str(deadline), env=self.env, timeout=deadline + RESERVE + 60)
        seconds = time.monotonic() - began
        self.said += done.stderr
        mend(self.lab, self.hosts)
        faults = list(self._faults(cell, done.returncode, done.stderr, seconds - deadline, text))
        self.live = self.caddyfile()
        shown = "; ".join(faults) or "as it should"
        self.table.append(f"{cell.name:<60} exit {done.returncode:<3} {seconds:6.1f} s of {deadline}  {shown}")
        return f"{cell.name}: {shown}\n{done.stderr}" if faults else ""

    def _faults(self, cell: Cell, code: int, stderr: str, beyond: float, text: str) -> Iterator[str]:
        if code not in cell.codes:
            yield f"exit {code}, right is {sorted(cell.codes)}"
        restoring = RESERVE if code in {75, 76} else 0
        if beyond > GRACE + restoring:
            yield f"ended {beyond:.0f} s after the deadline"
        if "Traceback" in stderr:
            yield "a traceback"
        states = {name: item["State"] for name, item in inspect(self.lab).items()}
        telapi = states.get("api-telapi-1", {})
        if code != 76 and telapi.get("Health", {}).get("Status") != "healthy":
            yield f"telapi is {telapi.get('Status')} {telapi.get('Health', {}).get('Status')}"
        if code in {0, 65, 66, 69, 74, 75, 77, 78} and self.caddyfile() != (text if code == 0 else self.live):
            yield "the file in place is not the one that it should be"
        if code == 0 and self.lab.get(3001, "/turn") != str(self.turn):
            yield "0, and the image is not the new one"
        if code != 0:
            error = reports.errors(stderr)[0]
            if not error["cause"] or not error["next_step"]:
                yield "an error without cause or next step"
        if json.loads(self.lab.machine.path("/run/delphi-agent/status.json").read_text())["exit_code"] != code:
            yield "the status says something else"


def test_the_table_has_three_hundred_cells_and_no_two_are_the_same() -> None:
    names = [cell.name for cell in cells()]

    assert len(names) >= 300
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_every_fault_of_every_call_ends_as_the_table_says(
    instance: Lab, record_property: Callable[[str, object], None]
) -> None:
    host = Host(instance)
    wrong = []
    for cell in wanted():
        fault = host.run(cell)
        # In the summary, whichever process ran it, and whatever becomes of the next one.
        record_property("figure", host.table[-1])
        if fault:
            wrong.append(fault)
        if fault or cell.codes != FINE:
            # The next cell begins on a host that is well again, and a memory without what failed.
            done = instance.agent("init", "--retry", env=host.env)
            if done.returncode != 0:
                wrong.append(f"after {cell.name}: the next init ends with {done.returncode}\n{done.stderr}")
            host.live = host.caddyfile()
    assert not wrong, "\n\n".join(wrong)
    assert leaks(instance, canaries(), Traced(0, "", host.said, [])) == []
