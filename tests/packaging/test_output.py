"""What a run writes to standard error is what the README says: JSON lines, and nothing between them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.packaging.checkout import CHECKOUT

WARNS = """
import argparse, pathlib, sys, warnings
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.report.record import Ending
from agent.run import Options

def work(run):
    with run.step("lock", "warning"):
        warnings.warn("a library warns about itself")
    return Ending(outcome="unchanged", exit_code=0, text="done")

arguments = argparse.Namespace(
    root=pathlib.Path(sys.argv[1]), deadline=5.0, command="init", log_format="auto", log_level="info"
)
sys.exit(conclude(arguments, Surroundings.real(["init"]), work, Options()))
"""


def test_a_library_that_warns_does_not_get_between_the_json_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WARNS, tmp_path], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )

    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert events == ["run.started", "step.started", "step.finished", "run.finished"]
