"""The simulator's check: real agents, each a process of its own, against a door that throttles; and their simulation.

The agents run `env`, which asks for the values and ends. The simulation has them begin when the real ones made their
first calls, and is done with many seeds: a fleet's chance is not the simulator's error.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.fleet.behaviours import Behaviour
from tests.bench.fleet.callers import Operator
from tests.bench.fleet.door import NAMES, Door
from tests.bench.fleet.fleet import Account, Fleet
from tests.bench.fleet.outcome import Outcome, percentile
from tests.bench.fleet.plans import Plan
from tests.bench.fleet.quotas import Quota
from tests.lab.loopback import Loopback

# Scaled so that some dozens of agents meet them as a thousand do the real ones.
QUOTAS = (
    Quota("SSM, scaled", ("ssm.path",), 1, "made for this check"),
    Quota("ListSecrets, scaled", ("secrets.list",), 1, "made for this check"),
    Quota("BatchGetSecretValue, scaled", ("secrets.batch",), 1, "made for this check"),
)
SEEDS = 200
# Long enough that starting the processes does not fill the machine.
WITHIN_SECONDS = 30.0
# What a call takes on loopback, with what the SDK does around it, on two cores that many agents share.
CALL_SECONDS = 0.02
_BOOTSTRAP = """\
ENVIRONMENT=prod
HOSTNAME=api-1
SERVER_ROLE=api
ECR_REGISTRY=123456789012.dkr.ecr.eu-west-1.amazonaws.com
ECR_TAG=1
CONFIG_BUCKET=delphi-config
CONFIG_REF=v1
CONFIG_SLUG=delphi
NAMESPACE=delphi/prod
AWS_REGION=eu-west-1
AWS_ACCESS_KEY_ID={key}
AWS_SECRET_ACCESS_KEY=none
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the real fleet, and of its simulations: the median, and between which the middle 90 % are."""

    name: str
    real: float
    simulated: float
    least: float
    most: float


@dataclass(frozen=True)
class Compared:
    """The fleet's size, and its figures."""

    instances: int
    figures: Sequence[Figure]


def compare(instances: int, seed: int) -> Compared:
    """Run so many agents, then simulate them."""
    door, failures = _run(instances, random.Random(seed))
    begins = sorted(door.first.values())
    account = Account(quotas=QUOTAS, call_seconds=CALL_SECONDS)
    outcomes = [Fleet(_ENV, account, number).boot_at(begins) for number in range(SEEDS)]
    real = Outcome(
        instances,
        ready=[door.last[agent] - door.first[agent] for agent in door.last],
        finished=list(door.last.values()),
        calls=door.calls,
        throttled=door.throttled,
        failures=failures,
    )
    known, simulated = _figures(real), [_figures(outcome) for outcome in outcomes]
    return Compared(instances, [_figure(name, known[name], [one[name] for one in simulated]) for name in known])


def _plan(pages: int) -> Plan:
    return [(["ssm.path"] * pages, ["secrets.list", "secrets.batch"])]


_ENV = Behaviour("delphi-agent env", _plan, Operator)


def _figures(outcome: Outcome) -> dict[str, float]:
    of = outcome.instances
    return {
        "p50, from the fleet's begin, s": percentile(outcome.finished, 0.5, of) or float("nan"),
        "p99, from the fleet's begin, s": percentile(outcome.finished, 0.99, of) or float("nan"),
        "p50, own, s": percentile(outcome.ready, 0.5, of) or float("nan"),
        "p99, own, s": percentile(outcome.ready, 0.99, of) or float("nan"),
        "calls": outcome.calls.total(),
        "calls of SSM": outcome.calls["ssm.path"],
        "throttled": outcome.throttled.total(),
        "failed runs": outcome.failures,
    }


def _figure(name: str, real: float, simulated: Sequence[float]) -> Figure:
    ordered = sorted(simulated)
    least, most = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return Figure(name=name, real=real, simulated=statistics.median(ordered), least=least, most=most)


def _run(instances: int, chance: random.Random) -> tuple[Door, int]:
    """Start the agents within some seconds; returns what the door saw, and how many agents failed."""
    begins = sorted(chance.uniform(0, WITHIN_SECONDS) for _ in range(instances))
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        folder = Path(name)
        manifest = folder / "vars.yaml"
        variables = "".join(f"  - {{name: {name}, required: true}}\n" for name in [*NAMES, "S_00"])
        manifest.write_text(f"service: api\nvariables:\n{variables}")
        door = Door(QUOTAS)
        with Loopback(door.answer) as server:
            began, running = time.monotonic(), []
            for number, begin in enumerate(begins):
                time.sleep(max(0.0, began + begin - time.monotonic()))
                running.append(_agent(folder / f"host-{number}", manifest, server.url, f"AKIA{number:016d}"))
            codes = [process.wait(600) for process in running]
    if set(door.by_agent) != {f"AKIA{number:016d}" for number in range(instances)}:
        raise RuntimeError("not every agent has asked")
    return door, sum(code != 0 for code in codes)


def _agent(root: Path, manifest: Path, url: str, key: str) -> subprocess.Popen[bytes]:
    file = root / "opt/deployment/.env"
    file.parent.mkdir(parents=True)
    file.write_text(_BOOTSTRAP.format(key=key))
    file.chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "agent",
        "--root",
        str(root),
        "env",
        "--format",
        "json",
        "--manifest",
        str(manifest),
    ]
    environment = {"PATH": "/usr/bin:/bin", "AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}
    with (root / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)


def text(compared: Compared) -> str:
    """The figures side by side, as a Markdown table."""
    lines = [
        f"{compared.instances} real agents; {SEEDS} simulations that begin as they did, the middle 90 % of them",
        "",
        "| | real | simulated | middle 90 % |",
        "| --- | --- | --- | --- |",
    ]
    for one in compared.figures:
        simulated, least, most = (_short(value) for value in (one.simulated, one.least, one.most))
        lines.append(f"| {one.name} | {_short(one.real)} | {simulated} | {least} to {most} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
