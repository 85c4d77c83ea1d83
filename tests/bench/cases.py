"""The situations that are measured, and who does what in them.

Every contender has a machine of its own (both kinds of the scripts share one), so that one's containers, images and
files are never another's. Runs are interleaved: a round is one run of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tests.bench.measure import Sample
from tests.bench.side import OTHER_TAG, Side
from tests.bench.worlds import Spec
from tests.lab.world import TAG

# A deployed service's health is looked at rarely: what the checks cost is nobody's part of a rerun.
QUIET = 5.0
_SETTLE = 0.3
# What is done at once varies most from one run to the next. Of what takes less than a second the middle one of three
# runs is taken, and rounds that take less than three seconds are made four times as often.
AT_ONCE_SECONDS, AT_ONCE_TIMES = 1.0, 3
QUICK_SECONDS, QUICK_TIMES = 3.0, 4


@dataclass(frozen=True)
class Contender:
    """Who is measured: its name, which machine is its own, and how one run is made there."""

    name: str
    machine: str
    run: Callable[[Side], Sample]


@dataclass(frozen=True)
class Case:
    """One situation. `once` makes it, `before` makes it again for each run; neither is measured."""

    name: str
    title: str
    once: Callable[[Side, Contender], None]
    before: Callable[[Side], None]
    contenders: Sequence[Contender]
    health: float | None = None
    """Instead of the world's, where the health checks would be in the way."""
    worlds: Sequence[str] = ("small", "large")
    remote: bool = True
    """False where no round-trip time to AWS matters."""


class Sides:
    """The machines of a suite; one of them is awake."""

    def __init__(self, machines: Mapping[str, Side]) -> None:
        self._machines = machines
        self._awake: set[str] = set(machines)

    def all(self) -> Iterator[Side]:
        """Each of them, awake."""
        for name in self._machines:
            yield self.wake(name)

    def wake(self, name: str) -> Side:
        """This one; the others' engines sleep."""
        for other in self._awake - {name}:
            self._machines[other].freeze()
        if name not in self._awake:
            self._machines[name].thaw()
            # Health checks that were due in its sleep come at once.
            time.sleep(_SETTLE)
        self._awake = {name}
        return self._machines[name]

    @contextmanager
    def delayed(self, milliseconds: float) -> Iterator[None]:
        """With this round-trip time to AWS."""
        for side in self._machines.values():
            side.delay(milliseconds)
        try:
            yield
        finally:
            for side in self._machines.values():
                side.delay(0)


def measure(
    case: Case, sides: Sides, spec: Spec, *, rtt: float, runs: int, tell: Callable[[str], None]
) -> dict[str, list[Sample]]:
    """Samples by contender, in rounds: `runs` of them, or `QUICK_TIMES` as many where one is done soon."""
    spec = spec if case.health is None else replace(spec, health=case.health)
    for contender in {item.machine: item for item in reversed(case.contenders)}.values():
        side = sides.wake(contender.machine)
        side.enter(spec)
        case.once(side, contender)
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in case.contenders}
    what = f"{spec.name} {case.name} {rtt:g} ms"
    with sides.delayed(rtt):
        for number in range(_rounds(runs, _round(case, sides, samples, f"{what}, run 1", tell)) - 1):
            _round(case, sides, samples, f"{what}, run {number + 2}", tell)
    return samples


def _round(
    case: Case, sides: Sides, samples: Mapping[str, list[Sample]], what: str, tell: Callable[[str], None]
) -> float:
    """One sample of each contender; returns the seconds that they took together."""
    took = 0.0
    for contender in case.contenders:
        made = sample(case, sides.wake(contender.machine), contender)
        samples[contender.name].append(made)
        took += made.wall
        tell(f"{what}: {contender.name} {made.wall:.2f} s")
    return took


def sample(case: Case, side: Side, contender: Contender) -> Sample:
    """Run it: once, or where it is done at once the middle one of three runs."""
    found: list[Sample] = []
    while not found or (found[0].wall < AT_ONCE_SECONDS and len(found) < AT_ONCE_TIMES):
        case.before(side)
        found.append(contender.run(side))
    return sorted(found, key=lambda sample: sample.wall)[len(found) // 2]


def _rounds(runs: int, seconds: float) -> int:
    return runs * QUICK_TIMES if seconds < QUICK_SECONDS else runs


def nothing(_: Side) -> None:
    """There is nothing to be done before each run."""


def deployed(side: Side, contender: Contender) -> None:
    side.fresh(images="there")
    contender.run(side)
    # As after hours: the first checks are over, and nothing is starting any more.
    time.sleep(_SETTLE)


def _unmade(side: Side, contender: Contender) -> None:
    """Each run makes its own."""


def _next_tag(side: Side) -> None:
    tag = OTHER_TAG if side.tag == TAG else TAG
    side.forget(tag)
    side.write_bootstrap(tag)


def _compose_up(side: Side) -> Sample:
    """Compose alone, with the environment that the scripts make, but not the making of it."""
    folder = f"/opt/services/{side.role}"
    return side.run(
        ["docker", "compose", "-f", f"{folder}/docker-compose.yaml", "up", "-d", "--remove-orphans"],
        **side.environment(),
    )


AGENT = Contender("agent", "agent", lambda side: side.agent("init"))
SCRIPTS = Contender("scripts", "scripts", lambda side: side.scripts("init.sh"))
FORCED = Contender("scripts, --force-recreate", "scripts", lambda side: side.scripts("init.sh", "--force-recreate"))
COMPOSE = Contender("compose up -d alone", "scripts", _compose_up)

INIT = (
    Case(
        "first-boot",
        "first boot, images on the host",
        _unmade,
        lambda side: side.fresh(images="there"),
        (AGENT, SCRIPTS),
    ),
    Case(
        "first-boot-pull",
        "first boot, images pulled",
        _unmade,
        lambda side: side.fresh(images="absent"),
        (AGENT, SCRIPTS),
    ),
    Case("rerun", "rerun, nothing changed", deployed, nothing, (AGENT, SCRIPTS, FORCED, COMPOSE), QUIET),
    Case(
        "rerun-file", "rerun, one file changed", deployed, lambda side: side.change(file=True), (AGENT, SCRIPTS, FORCED)
    ),
    Case(
        "rerun-parameter",
        "rerun, one parameter changed",
        deployed,
        lambda side: side.change(parameter=True),
        (AGENT, SCRIPTS, FORCED),
    ),
    Case("rerun-tag", "rerun, the tag changed", deployed, _next_tag, (AGENT, SCRIPTS)),
)
