"""Other runs: one that is at work now, and what earlier ones have left to do or have given up."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.doctor.facts import Facts
from agent.doctor.line import Line, ok, warn
from agent.errors import AgentError, StateBroken
from agent.host import json_input
from agent.steps import bootstrap_change, identity, state
from agent.steps.records import Failed
from agent.steps.state import State

_WAIT = "delphi-agent status --wait"
_AGAIN = "`delphi-agent init` deploys what the bootstrap file says and ends this"


def lock(facts: Facts) -> Iterator[Line]:
    """Whether another run is at work. Never taken here: a run that begins right now must not be refused for this."""
    path = facts.host.paths.lock
    facts.at_work = held(path, kernel_locks())
    if not facts.at_work:
        yield ok("free")
        return
    try:
        owner = json_input.loads(path.read_bytes())
        who = f"`{owner['command']}`, pid {owner['pid']}, started by {owner['user']} at {owner['started']}"
    except PermissionError:
        who = "only root may see whose"
    except (OSError, ValueError, KeyError, TypeError):
        who = "it has not said who it is"
    yield warn(f"a run is at work: {who}", _WAIT)


def kernel_locks() -> list[str]:
    """The kernel's own list of flocks that are held (proc(5))."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if " FLOCK " in line and "->" not in line]


def held(path: Path, locks: Sequence[str]) -> bool:
    """Whether one of `locks` is on the file `path`.

    Where the file system gives its files a device of their own (btrfs, overlay), the list names another one than
    `stat` does: then only root can tell, by the files that the owner of the lock has open.
    """
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return False
    device = f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}:{wanted.st_ino}"
    fields = [line.split() for line in locks]
    return any(field[5] == device for field in fields) or any(
        _locks_open_file(owner, wanted) for owner in {field[4] for field in fields}
    )


def _locks_open_file(owner: str, wanted: os.stat_result) -> bool:
    """Whether the process has locked this very file."""
    folder = Path("/proc") / owner
    try:
        links = list((folder / "fd").iterdir())
    except OSError:
        return False  # it has ended, or is another user's
    for link in links:
        # What it closes meanwhile is not locked by it.
        with contextlib.suppress(OSError):
            same = os.path.samestat(link.stat(), wanted)
            if same and " FLOCK " in (folder / "fdinfo" / link.name).read_text():
                return True
    return False


def kept_state(facts: Facts) -> Iterator[Line]:
    """What earlier runs have left to do, or have given up."""
    folder = facts.host.paths.state
    try:
        kept, _ = state.load(folder, None)
    except StateBroken as error:
        yield warn(f"{error.doing}: {error.cause}", error.next_step)
        return
    here = identity.local_instance_id(facts.host.paths)
    if here != kept.instance_id and here.startswith("i-") and kept.instance_id.startswith("i-"):
        yield ok(f"it came with the image from {kept.instance_id}: a run drops its verdicts")
        return
    lines = [] if facts.at_work else [*_unfinished(kept), *_unwritten(facts, kept)]
    if kept.failed is not None:
        lines.append(_given_up(kept.failed))
    yield from lines
    facts.release = current = kept.current
    if current is not None:
        yield ok(f"release {current.number} ({current.ref}, tag {current.tag}), seen healthy at {current.verified_at}")
    elif not lines:
        yield ok("nothing deployed yet" if not facts.at_work else "no release was seen healthy yet")


def _unfinished(kept: State) -> Iterator[Line]:
    """A deploy that has come to no end: how far it came decides what runs now, and what can be done."""
    last = f"release {kept.current.number}" if kept.current else "nothing"
    back = f"`delphi-agent rollback` goes back to {last}" if kept.current else ""
    if kept.started is not None:
        begun, fix = kept.started, "; ".join(filter(None, (_AGAIN, back)))
        if begun.back_to is not None:
            fix = f"`delphi-agent rollback` goes on to release {begun.back_to}; {_AGAIN}"
        elif begun.irreversible:
            fix = f"{_AGAIN}; it says `irreversible: true`, so going back takes `rollback --force`"
        yield warn(
            f"{begun.text} was started and never seen healthy: its containers may be running; last healthy: {last}", fix
        )
    if kept.journal is not None and kept.journal.applying:
        yield warn(
            "a run was ended while it replaced the bundle's files: they are a mix of two bundles",
            "`delphi-agent init` puts the former ones back, then deploys; start nothing by hand before that",
        )
    elif kept.journal is not None and kept.started is None:
        yield warn("a run was ended after it had replaced the bundle's files and before it started anything", _AGAIN)


def _unwritten(facts: Facts, kept: State) -> Iterator[Line]:
    """A verified release whose tag or ref is not in the bootstrap file yet."""
    try:
        values = bootstrap_change.unwritten(facts.host.paths.bootstrap, kept.bootstrap) if kept.bootstrap else {}
    except AgentError:
        return  # that the file cannot be read is told with it
    if values:
        told = ", ".join(f"{name}={value}" for name, value in values.items())
        yield warn(
            f"deployed is {told}, which the bootstrap file does not say yet; what follows here goes by the file",
            "`delphi-agent init` writes it, and goes by what is deployed; if it cannot, see who may write the file",
        )


def _given_up(failed: Failed) -> Line:
    what = f"ref {failed.release.ref}, tag {failed.release.tag}"
    retry = "`delphi-agent init --retry` deploys it all the same"
    if failed.left:
        return warn(f"an operator went back from {what} at {failed.at}: no boot brings it back by itself", retry)
    return warn(
        f"{what} failed at {failed.at} and was taken back: {failed.cause}",
        f"it is not tried again until bundle, image, tag or values change; {retry}",
    )
