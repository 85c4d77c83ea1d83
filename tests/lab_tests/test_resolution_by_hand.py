"""The whole resolution against bash, the AWS CLI and jq, in worlds of the size of a large role."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.host import compose_plugin
from tests.lab.lab import Lab
from tests.lab.pki import TRUST_STORE
from tests.lab_tests.resolution_worlds import (
    BOOTSTRAP,
    EXTERNALS,
    MANIFEST_JSON,
    PARAMETERS,
    SECRETS,
    VARIABLES,
    arranged,
    resolved,
)

HERE = Path(__file__).parent
# The world of DELPHI_SEED, else one that is new each time; DELPHI_LONG=1 makes more.
SEEDS = [int(os.environ.get("DELPHI_SEED", random.randrange(10**9)))]
if os.environ.get("DELPHI_LONG") == "1":
    SEEDS += [random.randrange(10**9) for _ in range(10)]


@pytest.fixture(scope="session")
def aws_cli() -> Path:
    """The AWS CLI, in the lab's cache: the machine sees the host's files."""
    folder = compose_plugin().parent / "awscli"
    subprocess.run([HERE / "resolution_awscli.sh", sys.executable, folder], check=True, timeout=300)
    return folder / "bin/aws"


def by_hand(lab: Lab, aws_cli: Path) -> dict[str, str]:
    """What bash, the AWS CLI and jq make of the world that is arranged."""
    argv = [str(HERE / "resolution_by_hand.sh"), str(aws_cli), MANIFEST_JSON, BOOTSTRAP]
    # The CLI has a trust store of its own unless told; the system's is the one that the lab's CA is in.
    done = lab.machine.run(argv, env={"AWS_CA_BUNDLE": TRUST_STORE})
    assert done.returncode == 0, done.stderr
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_every_variable_is_byte_for_byte_what_bash_and_the_aws_cli_and_jq_make_of_it(
    instance: Lab, aws_cli: Path, number: int
) -> None:
    seed = SEEDS[number]
    again = f"run again with DELPHI_SEED={seed}"
    world = arranged(instance, seed)
    sizes = [len(part) for part in (world.variables, world.parameters, world.secrets, world.externals)]
    assert sizes == [VARIABLES, PARAMETERS, SECRETS, EXTERNALS]

    agents, _ = resolved(instance)
    expected = by_hand(instance, aws_cli)

    differing = sorted(name for name in agents.keys() | expected.keys() if agents.get(name) != expected.get(name))
    assert {name: (agents.get(name), expected.get(name)) for name in differing} == {}, again
    assert len(agents) > VARIABLES * 0.8, f"the world is not worth comparing: {again}"
