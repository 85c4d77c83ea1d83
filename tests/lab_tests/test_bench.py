"""The bench itself, in its smallest case: what it starts, what it counts, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.cases import QUICK_TIMES
from tests.lab.host import CHECKOUT

# What `env` asks for in the small world: 40 parameters are four pages; the three secrets and the external one a batch.
AGENT = {"ssm:GetParametersByPath": 4, "secretsmanager:ListSecrets": 1, "secretsmanager:BatchGetSecretValue": 1}
SCRIPTS = {"ssm:GetParametersByPath": 4, "secretsmanager:ListSecrets": 1, "secretsmanager:GetSecretValue": 4}


@pytest.mark.skipif(not os.environ.get("DELPHI_LONG"), reason="installs the peers' tools; check.sh --long runs it")
def test_it_counts_the_calls_of_the_agent_and_of_the_scripts_and_shows_them(tmp_path: Path) -> None:
    kept, drawn = tmp_path / "results.json", tmp_path / "chart.svg"
    argv = [sys.executable, "-m", "tests.bench", "--world", "small", "--only", "values", "--runs", "1"]

    done = subprocess.run(
        [*argv, "--json", kept, "--svg", drawn], cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stderr
    [result] = json.loads(kept.read_text())["results"]
    # On a quick machine there are more rounds than it was asked for; each has the same counts.
    [ours, *others], [theirs, *_] = result["samples"]["agent"], result["samples"]["scripts"]
    assert len(others) + 1 in {1, QUICK_TIMES}
    assert [sample["calls"] for sample in (ours, *others)] == [AGENT] * (len(others) + 1)
    assert theirs["calls"] == SCRIPTS
    # The AWS CLI is a process for every call: one connection each, and three questions to the metadata service.
    assert theirs["connections"] == 6
    assert theirs["imds"] == 18
    assert ours["connections"] <= theirs["connections"]
    shown = {cells[1]: cells for cells in map(cells_of, done.stdout.splitlines()) if len(cells) > 9}
    assert [shown["agent"][7], shown["scripts"][7]] == ["6", "9"]
    assert drawn.read_text().startswith("<svg")


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
