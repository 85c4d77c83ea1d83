"""What was measured, as it is kept in JSON and as the tables want it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from tests.bench.measure import Sample
from tests.bench.pairs import Spread, ratio
from tests.lab.aws_model import Json

Value = Callable[[Sample], float]


@dataclasses.dataclass(frozen=True)
class Result:
    """One case in one world at one round-trip time: the samples of each contender, round by round."""

    world: str
    case: str
    title: str
    rtt: float
    samples: Mapping[str, Sequence[Sample]]

    @property
    def cell(self) -> tuple[str, str, float]:
        """Which one it is."""
        return self.world, self.case, self.rtt

    def spread(self, contender: str, value: Value) -> Spread:
        return Spread.of([value(sample) for sample in self.samples[contender]])

    def ratio(self, ours: str, theirs: str, value: Value) -> Spread:
        return ratio(*([value(sample) for sample in self.samples[name]] for name in (ours, theirs)))

    @classmethod
    def from_json(cls, found: Json) -> Result:
        """What `as_json` gave."""
        samples = {name: [Sample(**sample) for sample in samples] for name, samples in found["samples"].items()}
        return cls(found["world"], found["case"], found["title"], found["rtt_ms"], samples)

    def as_json(self) -> Json:
        """All that there is; figures rounded to what they are good for."""
        found = {name: [_rounded(sample) for sample in samples] for name, samples in self.samples.items()}
        return {"world": self.world, "case": self.case, "title": self.title, "rtt_ms": self.rtt, "samples": found}


def wall(sample: Sample) -> float:
    return sample.wall


def cpu(sample: Sample) -> float:
    return sample.cpu


def own_cpu(sample: Sample) -> float:
    return sample.own_cpu


def peak(sample: Sample) -> float:
    """MiB of the command's own process."""
    return sample.peak / 1024


def biggest(sample: Sample) -> float:
    """MiB of the biggest of all its processes: a script's own is only bash."""
    return sample.biggest / 1024


def aws_part(sample: Sample) -> float:
    return sample.parts["aws"]


def calls(sample: Sample) -> float:
    return sum(sample.calls.values())


def connections(sample: Sample) -> float:
    return sample.connections


def _rounded(sample: Sample) -> Json:
    found = dataclasses.asdict(sample)
    found["parts"] = {name: round(seconds, 4) for name, seconds in sample.parts.items()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def find(results: Sequence[Result], world: str, case: str, rtt: float) -> Result | None:
    """The result of this cell, when it was measured."""
    for result in results:
        if result.cell == (world, case, rtt):
            return result
    return None


def round_trips(results: Sequence[Result]) -> dict[tuple[str, str, str], float]:
    """By world, case and contender: how many round trips to AWS one waits for after the other.

    Measured, not counted: how much longer a run takes per added second of round trip, from the least to the most.
    """
    found = {}
    for result in results:
        cells = sorted(
            (other.rtt, other) for other in results if (other.world, other.case) == (result.world, result.case)
        )
        (least, first), (most, last) = cells[0], cells[-1]
        if result is not last or most == least:
            continue
        for name in result.samples:
            longer = last.spread(name, wall).median - first.spread(name, wall).median
            found[result.world, result.case, name] = 1000 * longer / (most - least)
    return found
