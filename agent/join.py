"""Two ways to start one boot: an `init` that meets the boot's run waits for it and ends as it did.

On a first boot the unit and cloud-init's `runcmd` may both call `init`; whichever comes second has nothing of its own
to do. A person's `init` that asks for nothing special joins a boot, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.boot import boot
from agent.errors import LockHeld
from agent.report import record, status
from agent.report.record import Ending
from agent.restore import RESERVE_SECONDS
from agent.run import Options, Run
from agent.stages.unit import start_unit

_POLL_SECONDS = 0.3
# A run that has just taken the lock has not yet written its status.
_SETTLE_SECONDS = 2.0
# What the other run may take beyond its deadline and its restore, to end its children.
_GRACE_SECONDS = 30.0


def boot_or_join(run: Run) -> Ending:
    """`boot`; or, where a boot's run is at work and this one asks for nothing special, wait for that one's verdict.

    Of a run that dies without a verdict the work is taken over. Raises `LockHeld` where the other run is no boot's.
    """
    plain = run.options == Options()
    # Before another run can refuse this one. Where this one makes the bootstrap file, it starts the unit then.
    start_unit(run)
    while True:
        other = _boot_at_work(run) if plain else None
        if other is None:
            try:
                return boot(run)
            except LockHeld:
                other = _boot_about_to_tell(run) if plain else None
                if other is None:
                    raise
        ending = _join(run, other)
        if ending is not None:
            return ending


def _boot_at_work(run: Run) -> Mapping[str, Any] | None:
    """The status of the run that is at work, when it is a boot's."""
    document = status.read(run.host.paths.status)
    if document is None or document["outcome"] != "running" or not document["run"].get("boot"):
        return None
    return document


def _boot_about_to_tell(run: Run) -> Mapping[str, Any] | None:
    end = run.host.clock.monotonic() + _SETTLE_SECONDS
    while (other := _boot_at_work(run)) is None and run.host.clock.monotonic() < end:
        run.host.clock.sleep(_POLL_SECONDS)
    return other


def _join(run: Run, other: Mapping[str, Any]) -> Ending | None:
    """How the other run ended; None when it died without a verdict."""
    head, clock = other["run"], run.host.clock
    with run.step("join", f"waiting for the boot's run {head['id']} (pid {head['pid']})") as step:
        # The other one's time counts, which may have a longer deadline than this one.
        step.may_take = head["deadline_seconds"] + RESERVE_SECONDS + _GRACE_SECONDS
        end = clock.monotonic() + step.may_take
        document: Mapping[str, Any] | None = other
        while document is not None and document["outcome"] == "running" and document["run"]["id"] == head["id"]:
            if clock.monotonic() >= end:
                raise LockHeld(
                    "waiting for the boot's run",
                    f"pid {head['pid']} is at work for longer than its deadline allows, in step {document['stage']}",
                    "see `delphi-agent status`; end it (`systemctl stop delphi-agent`), then run it again",
                )
            record.progress(waiting_for=f"step {document['stage'] or 'lock'} of the boot's run")
            clock.sleep(_POLL_SECONDS)
            document = status.read(run.host.paths.status)
        died = document is None or document["run"]["id"] != head["id"] or document["outcome"] == "died"
        step.detail = "it ended without a verdict" if died or document is None else str(document["outcome"])
    if died or document is None:
        return None
    return Ending(
        outcome=document["outcome"],
        exit_code=int(document["exit_code"]),
        text=f"as the boot's run {head['id']}, which this one has joined: {document['text']}",
        release=document["release"],
    )
