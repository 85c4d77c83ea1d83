"""The tables of the simulation: each row one fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.fleet.behaviours import Behaviour
from tests.bench.fleet.fleet import HORIZON_SECONDS, Account, Fleet, undisturbed
from tests.bench.fleet.outcome import Outcome, percentile
from tests.bench.fleet.plans import calls
from tests.bench.fleet.quotas import Quota, bound

_COLUMNS = (
    "instances",
    "behaviour",
    "bound s",
    "p50 / p99 / last s",
    "p99 / bound",
    "own p50 / p99 s",
    "calls each",
    "throttled",
    "failed runs",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fleet. Seconds count from the fleet's first, `own` ones from the instance's own boot; see `least`."""

    instances: int
    behaviour: str
    bound: float
    bound_by: str
    p50: float | None
    p99: float | None
    last: float | None
    own_p50: float | None
    own_p99: float | None
    calls: int
    throttled: int
    failures: int

    @property
    def over_bound(self) -> float | None:
        """The fleet's p99 as a multiple of the bound."""
        return None if self.p99 is None else self.p99 / self.bound


def row(
    behaviour: Behaviour,
    account: Account,
    instances: int,
    *,
    within: float,
    seed: int,
    horizon: float = HORIZON_SECONDS,
) -> Row:
    """Simulate one fleet."""
    outcome = Fleet(behaviour, account, seed).boot(instances, within, horizon)
    seconds, name = least(behaviour, account, instances, within)
    return Row(
        instances=instances,
        behaviour=behaviour.name,
        bound=seconds,
        bound_by=name,
        calls=sum(outcome.calls.values()),
        throttled=sum(outcome.throttled.values()),
        failures=outcome.failures,
        **_times(outcome),
    )


def least(behaviour: Behaviour, account: Account, instances: int, within: float) -> tuple[float, str]:
    """The bound: what the fleet's calls take at the quotas' rates, and one undisturbed run; and what bounds it.

    Nor can a fleet be there before it has booted.
    """
    seconds, name = bound(calls(behaviour.plan(account.pages)), instances, account.quotas)
    if seconds < within:
        seconds, name = within, "the boot itself"
    return seconds + undisturbed(behaviour, account), name


def _times(outcome: Outcome) -> dict[str, float | None]:
    of = outcome.instances
    return {
        "p50": percentile(outcome.finished, 0.5, of),
        "p99": percentile(outcome.finished, 0.99, of),
        "last": percentile(outcome.finished, 1.0, of),
        "own_p50": percentile(outcome.ready, 0.5, of),
        "own_p99": percentile(outcome.ready, 0.99, of),
    }


def head() -> str:
    """The first two lines of the rows' Markdown table."""
    return f"| {' | '.join(_COLUMNS)} |\n| {' | '.join('---' for _ in _COLUMNS)} |"


def line(one: Row) -> str:
    """A row of it."""
    times = " / ".join(_seconds(value) for value in (one.p50, one.p99, one.last))
    own = " / ".join(_seconds(value) for value in (one.own_p50, one.own_p99))
    over = "-" if one.over_bound is None else f"{one.over_bound:.2f}"
    return (
        f"| {one.instances:,} | {one.behaviour} | {one.bound:.0f} | {times} | {over} | {own}"
        f" | {one.calls / one.instances:.0f} | {one.throttled:,} | {one.failures:,} |"
    )


def quotas_text(quotas: Sequence[Quota]) -> str:
    """The quotas with their sources, as a Markdown table."""
    lines = ["| quota | calls/s | published at |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {quota.name} | {quota.rate:,.0f} | {quota.source} |" for quota in quotas)])


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}" if value < 10 else f"{value:.0f}"
