"""A fleet that boots: each instance asks by its plan, is throttled, and starts over when its run has failed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agent.aws.retrying import place_of
from agent.host.clock import Deadline
from agent.host.side_by_side import GRACE_SECONDS
from tests.bench.fleet.behaviours import Behaviour
from tests.bench.fleet.callers import Caller
from tests.bench.fleet.events import Loop, Process
from tests.bench.fleet.outcome import Outcome
from tests.bench.fleet.plans import Plan, calls
from tests.bench.fleet.quotas import BURST_SECONDS, Quota, Throttle

CALL_SECONDS = 0.02
HORIZON_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a fleet is up against: quotas, the pages of its parameters, and how long a call takes on its way."""

    quotas: Sequence[Quota]
    pages: int = 4
    call_seconds: float = CALL_SECONDS
    burst_seconds: float = BURST_SECONDS


class Fleet:
    """One simulated fleet; the same seed gives the same."""

    def __init__(self, behaviour: Behaviour, account: Account, seed: int) -> None:
        self._behaviour, self._account = behaviour, account
        self._throttle, self._loop, self._chance = (
            Throttle(account.quotas, account.burst_seconds),
            Loop(),
            random.Random(seed),
        )
        self._outcome = Outcome(0)

    def boot(self, instances: int, within: float, horizon: float = HORIZON_SECONDS) -> Outcome:
        """Have so many instances boot at random times within so many seconds, and see what they come to."""
        return self.boot_at([self._chance.uniform(0, within) for _ in range(instances)], horizon)

    def boot_at(self, begins: Sequence[float], horizon: float = HORIZON_SECONDS) -> Outcome:
        """The same for instances that boot at these times."""
        self._outcome = Outcome(len(begins))
        for begin in begins:
            place = place_of(f"i-{self._chance.getrandbits(68):017x}")
            self._loop.start(self._instance(begin, place), begin)
        self._loop.run(horizon)
        return self._outcome

    def _instance(self, begin: float, place: float) -> Process:
        """One instance: a run, and the next after a pause, until one has all that it asked for."""
        behaviour, outcome = self._behaviour, self._outcome
        while True:
            deadline = Deadline.after(self._loop, behaviour.deadline_seconds)
            run = _Run(behaviour.caller(deadline, self._chance, place))
            yield [self._work(run, behaviour.plan(self._account.pages))]
            if not run.over:
                outcome.ready.append(self._loop.monotonic() - begin)
                outcome.finished.append(self._loop.monotonic())
                return True
            outcome.failures += 1
            yield behaviour.restart_seconds

    def _work(self, run: _Run, plan: Plan) -> Process:
        """Do a plan; False when the run was over before."""
        for item in plan:
            if isinstance(item, str):
                yield from self._call(run, item)
            elif isinstance(item, tuple):
                yield [self._work(run, part) for part in item]
            else:
                yield float(item)
            if run.over:
                return False
        return True

    def _call(self, run: _Run, name: str) -> Process:
        """Make a call until it is answered. A call that is given up ends the run."""
        attempt = 1
        while not run.over:
            if held := run.caller.hold(name):
                yield held
                continue
            yield self._account.call_seconds
            self._outcome.calls[name] += 1
            if self._throttle.take(name, self._loop.monotonic()):
                run.caller.answered(name)
                return True
            self._outcome.throttled[name] += 1
            pause = run.caller.refused(name, attempt)
            if pause is None:
                # The agent lets what runs beside it end, for a while.
                yield GRACE_SECONDS
                run.end()
            else:
                yield pause
                attempt += 1
        return False


class _Run:
    """One run of an instance; once it is over its other calls stop too."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.over = False

    def end(self) -> None:
        self.over = True


def undisturbed(behaviour: Behaviour, account: Account) -> float:
    """Seconds that one instance takes when nobody throttles it."""
    plan = behaviour.plan(account.pages)
    free = Account(
        quotas=[Quota("none", tuple(calls(plan)), 1e9, "made up")],
        pages=account.pages,
        call_seconds=account.call_seconds,
    )
    return Fleet(behaviour, free, seed=0).boot(1, 0.0).ready[0]
