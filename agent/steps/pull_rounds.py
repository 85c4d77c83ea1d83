"""How often a pull is tried: only what failed, and only as long as another try can help."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.errors import DeadlineExceeded
from agent.host import retry
from agent.host.clock import Deadline
from agent.report import record
from agent.report.record import Costs
from agent.steps import pull_faults
from agent.steps.pull_faults import BREAKS, PERMANENT, Fault

# A network that breaks so often is broken; a quota is waited for until the deadline.
NETWORK_TRIES = 5
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0


class _Again(Exception):
    """Another round may help."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__()
        self.faults = faults


class Rounds:
    """Tries until every image is there; `attempt` tries those that it is given, and returns what failed.

    Without `log_in_again` a refusal is final at once.
    """

    def __init__(
        self,
        attempt: Callable[[Sequence[str]], list[Fault]],
        log_in_again: Callable[[], None] | None,
        images: Sequence[str],
    ) -> None:
        self._attempt = attempt
        self._log_in_again = log_in_again
        self._left = list(images)
        self._breaks = 0
        self._before = ""

    def until(self, deadline: Deadline) -> None:
        """Return when all are there; raise the error for those that are not."""
        if not self._left:
            return
        try:
            retry.until(deadline, self._round, on=(_Again,), first=FIRST_WAIT, most=LONGEST_WAIT, tell=_tell_wait)
        except _Again as again:
            raise pull_faults.error(again.faults) from None

    def _round(self) -> None:
        record.progress(waiting_for="")
        try:
            faults = self._with_new_login(self._attempt(self._left))
        except DeadlineExceeded as exceeded:
            if not self._before:
                raise
            # That there was no time left is not why the image is not there.
            cause = f"{exceeded.cause}; the try before: {self._before}"
            raise DeadlineExceeded(exceeded.doing, cause, exceeded.next_step) from None
        if not faults:
            return
        self._before = faults[0].text
        self._left = [fault.image for fault in faults]
        kinds = {fault.kind for fault in faults}
        self._breaks += bool(kinds & BREAKS)
        if kinds & PERMANENT or self._breaks >= NETWORK_TRIES:
            raise pull_faults.error(faults)
        raise _Again(faults)

    def _with_new_login(self, faults: list[Fault]) -> list[Fault]:
        """A token may have expired since it was given: what was refused is tried with a new one, once."""
        refused = [fault.image for fault in faults if fault.kind == "refused"]
        if not refused or self._log_in_again is None:
            return faults
        self._log_in_again()
        self._log_in_again = None
        record.count(Costs(retries=1))
        return [fault for fault in faults if fault.kind != "refused"] + self._attempt(refused)


def _tell_wait(error: BaseException) -> None:
    """What is waited for; the step keeps count of it."""
    faults = error.faults if isinstance(error, _Again) else ()
    throttled = any(fault.kind == "throttled" for fault in faults)
    record.count(Costs(retries=1, throttled=int(throttled)))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    record.progress(waiting_for="".join(f"the registry: {fault.text}{more}" for fault in faults[:1]))
