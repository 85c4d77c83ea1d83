"""Jobs that run side by side in threads, with errors that are all told and waits that end at the deadline."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Generic, Self, TypeVar, cast

from agent.errors import AgentError, combine
from agent.host.clock import Deadline

T = TypeVar("T")

# After one job failed the others get this long to end: a boot that fails should name all its faults, not the first.
GRACE_SECONDS = 3.0
# A signal that comes right before a thread goes to sleep is only heard when that one wakes up.
WAKE_SECONDS = 1.0


class SideBySide:
    """Starts jobs; on leaving the `with` block all of them have ended, or the errors of those that failed are raised.

    An error raised in the block itself counts like one of a job. When anything failed, jobs still at work get
    `GRACE_SECONDS` to add their own faults, then they are left behind (their threads die with the process). Only
    `AgentError`s are combined; any other exception, a signal included, passes through as it is.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.changed = threading.Condition()
        self._jobs: list[Job[object]] = []
        self._patience = deadline

    def start(self, doing: str, work: Callable[[], T]) -> Job[T]:
        """Run `work` in a thread; `doing` names it in errors."""
        job = Job(doing, work, self)
        self._jobs.append(cast("Job[object]", job))
        job.start()
        return job

    def forget(self, job: Job[T]) -> None:
        """Neither wait for this job any more nor tell what became of it."""
        with self.changed:
            self._jobs.remove(cast("Job[object]", job))
            self.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, AgentError):
            return
        if error is not None:
            self.lose_patience()
        with self.changed:
            self._wait(self._all_done_or_one_failed)
            if self._failures():
                self.lose_patience()
                self._wait(self._all_done)
        self._raise_all(error)

    def lose_patience(self) -> None:
        """Give jobs that are still at work only the grace period from now on."""
        if self._patience is self.deadline:
            self._patience = self.deadline.share(GRACE_SECONDS)

    def wait_for(self, job: Job[T]) -> None:
        """Return when `job` is done; raise the errors so far when another job has failed and the grace is over."""
        with self.changed:
            self._wait(lambda: job.done or bool(self._failures()))
            if not job.done and self._failures():
                self.lose_patience()
                self._wait(lambda: job.done)
        if not job.done:
            raise combine(self._failures()) if self._failures() else self.deadline.exceeded(job.doing)

    def _wait(self, is_over: Callable[[], bool]) -> None:
        """As `Condition.wait_for`, and no signal waits for its end; `changed` is held."""
        end = time.monotonic() + self._patience.left()
        while not is_over() and (left := end - time.monotonic()) > 0:
            self.changed.wait(min(left, WAKE_SECONDS))

    def _all_done(self) -> bool:
        return all(job.done for job in self._jobs)

    def _all_done_or_one_failed(self) -> bool:
        return self._all_done() or any(job.error for job in self._jobs)

    def _failures(self) -> list[AgentError]:
        return [job.error for job in self._jobs if isinstance(job.error, AgentError)]

    def _raise_all(self, error: AgentError | None) -> None:
        for job in self._jobs:
            if job.error is not None and not isinstance(job.error, AgentError):
                raise job.error
        errors = [] if error is None else list(error.parts())
        for failure in self._failures():
            errors += [part for part in failure.parts() if part not in errors]
        if not errors:
            # Several threads may do one thing.
            late = dict.fromkeys(job.doing for job in self._jobs if not job.done)
            errors = [self.deadline.exceeded(doing) for doing in late]
        if errors:
            raise combine(errors)


class Job(Generic[T]):
    """One piece of work in a thread of its own."""

    def __init__(self, doing: str, work: Callable[[], T], group: SideBySide) -> None:
        self.doing = doing
        self.done = False
        self.error: BaseException | None = None
        self._work = work
        self._group = group
        self._value: T | None = None

    def start(self) -> None:
        """Begin. The thread is a daemon: a call that hangs must not keep a process alive whose run has ended."""
        # The context carries the current step, so that calls made in the thread are counted for it.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=self.doing, daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - kept, and raised by result() in the thread that waits
            self.error = error
        finally:
            with self._group.changed:
                self.done = True
                self._group.changed.notify_all()

    def result(self) -> T:
        """What the work returned; raises what it raised, or `DeadlineExceeded`, or why a job beside it failed."""
        self._group.wait_for(self)
        if self.error is not None:
            raise self.error
        return cast("T", self._value)


def within(deadline: Deadline, doing: str, work: Callable[[], T]) -> T:
    """What `work` returns, or `DeadlineExceeded` at the deadline: for a call that cannot be ended from outside."""
    with SideBySide(deadline) as jobs:
        return jobs.start(doing, work).result()
