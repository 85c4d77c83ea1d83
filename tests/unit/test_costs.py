"""What a start costs, in counts: a change that loads more has to say so here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
# As of today, with a few to spare. A module is about half a millisecond of every boot.
OWN_MODULES_OF_INIT = 180
MODULES_OF_HELP, MODULES_OF_STATUS = 43, 54
# Loaded when they are needed, and not before.
LATE = {"boto3", "botocore", "docker", "requests", "structlog", "tenacity", "urllib3", "yaml", "dotenv"}
# `--help` needs none of these: together they take longer than it does.
HEAVY = {"dataclasses", "inspect", "json", "pathlib", "shutil", "ssl", "typing", "uuid"}


def loaded_by(statement: str) -> set[str]:
    """The modules that a new interpreter has loaded after it, and had not before."""
    begin = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); before = set(sys.modules)"
    code = f"{begin}; {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def top_levels(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_a_command_line_loads_little() -> None:
    modules = loaded_by("import agent.cli.main; from agent.cli.arguments import parser; parser(['--help'])")

    assert "agent.cli.main" in modules
    assert modules & HEAVY == set()
    assert len(modules) <= MODULES_OF_HELP


def test_a_run_loads_libraries_when_it_needs_them_and_few_modules_of_its_own() -> None:
    modules = loaded_by("import agent.cli.main, agent.cli.init")

    assert top_levels(modules) & LATE == set()
    assert 0 < len([name for name in modules if name.startswith("agent")]) <= OWN_MODULES_OF_INIT


def test_a_status_loads_no_library_and_nothing_of_a_deploy() -> None:
    modules = loaded_by("import agent.cli.main, agent.cli.status, agent.cli.terminal")

    assert top_levels(modules) & LATE == set()
    assert modules & HEAVY <= {"json"}
    assert [name for name in modules if name.startswith(("agent.stages", "agent.aws", "agent.deploy"))] == []
    assert len(modules) <= MODULES_OF_STATUS
