"""What a manifest wants of the host: mount points that are there, and files written from variables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from agent.errors import HostError, ManifestError
from agent.host import files
from agent.host.side_by_side import within
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.secret import Secret
from agent.stages.fetching import Fetched
from agent.steps import file_digests, fingerprints, host_files, mounts, state
from agent.steps import journal as journals
from agent.steps.compose import Model
from agent.steps.host_files import HostFile, Ready
from agent.steps.state import State
from agent.variables.manifest import Manifest
from agent.variables.resolution import Resolution

T = TypeVar("T")

# A file system behind a network that does not answer must not hold up a boot for long.
MOUNT_SECONDS = 20.0
# As long as systemd waits for a device, if it is not told otherwise (systemd-system.conf(5), DefaultDeviceTimeoutSec).
LATE_SECONDS = 90.0
_POLL_SECONDS = 0.5


def expect_mounts(run: Run, parsed: Manifest, *, patience: float = 0.0) -> None:
    """See that every path of the manifest's `mounts` is a mount point; before anything is pulled or changed.

    At a boot one that /etc/fstab has is waited for, for `patience` seconds: a volume may be attached after its instance
    has started.
    """
    if not parsed.mounts:
        return
    with run.step("mounts", "looking at the mount points") as step:
        at, doing = run.host.paths.at, "looking at the mount points"
        if patience and run.recorder.head.boot:
            end = run.deadline.share(patience)
            while end.left() > 0 and (late := _within(run, doing, lambda: mounts.late(parsed.mounts, at))):
                record.progress(waiting_for=f"{', '.join(late)}, which /etc/fstab has")
                run.host.clock.sleep(_POLL_SECONDS)
        _within(run, doing, lambda: mounts.expect(parsed.mounts, at))
        step.detail = ", ".join(item.path for item in parsed.mounts)


def _within(run: Run, doing: str, work: Callable[[], T]) -> T:
    return within(run.deadline.share(MOUNT_SECONDS), doing, work)


def plan_files(
    run: Run, role: str, parsed: Manifest, resolution: Resolution, bundle: Collection[str]
) -> tuple[Ready, ...]:
    """The manifest's `files` as they are to be; raises for all that stands in their way, before anything changes.

    `bundle` are the paths of the bundle's own files: what a bundle brings as a file is not also made from a variable.
    """
    twice = [item for item in parsed.files if f"{role}/{item.path}" in bundle]
    if twice:
        raise ManifestError(
            f"making the files of {parsed.name}",
            f"the bundle brings {', '.join(item.path for item in twice)} as well",
            "remove the file from the bundle, or its entry from `files`",
            details=[f"{parsed.name}:{item.line}:{item.column}: {item.path} is a file of the bundle" for item in twice],
        )
    ready = host_files.prepare(parsed.files, resolution.environment, role, parsed.name)
    sensitive = {
        f"{role}/{item.path}"
        for item in parsed.files
        if (found := resolution.variables.get(item.variable)) and found.sensitive
    }
    run.redactor.learn(host_files.secrets(ready, sensitive))
    host_files.expect_room(ready, run.host.paths.services)
    return ready


def declared_paths(role: str, declared: Sequence[HostFile]) -> frozenset[str]:
    """Where the manifest's files lie, relative to /opt/services, with a value or without."""
    return frozenset(f"{role}/{item.path}" for item in declared)


def keep_declared(fetched: Fetched, role: str) -> Fetched:
    """The same bundle; a file that a former one brought, and that is now made from a variable, is not removed."""
    staged, own = fetched.staged, declared_paths(role, fetched.manifest.files)
    if staged is None or own.isdisjoint(staged.removed):
        return fetched
    return replace(fetched, staged=replace(staged, removed=tuple(path for path in staged.removed if path not in own)))


def write_files(run: Run, role: str, parsed: Manifest, ready: Sequence[Ready], kept: State) -> State:
    """Put the files in their places that are not as they are wanted; the former ones are kept until `record`.

    They go into the same transaction as the bundle's: what takes that back puts these back, too, and a run that is
    killed in the middle is taken back by the next one.
    """
    paths = run.host.paths
    changing = host_files.differing(ready, paths.services)
    own = declared_paths(role, parsed.files)
    applied = {path: file for path, file in kept.applied.items() if path not in own}
    before, kept = kept.made, replace(kept, applied=applied, made=_now_made(run, ready, changing, kept.made))
    if not changing:
        return kept
    with run.step("files", "writing the manifest's files") as step:
        journal, _ = journals.begin(kept, [item.path for item in changing], paths.services, paths.state, made=True)
        folders = host_files.missing_folders(changing, paths.services)
        made = before if journal.made is None else journal.made
        journal = replace(journal, folders=(*journal.folders, *folders), made=made)
        kept = replace(kept, journal=journal, folders=kept.folders.union(folders))
        state.save(paths.state, kept)
        for item in changing:
            host_files.write(item, paths.services)
        kept = replace(kept, journal=replace(journal, applying=False))
        state.save(paths.state, kept)
        step.detail = f"{amount(len(changing), 'file')} written"
    return kept


def _now_made(
    run: Run, ready: Sequence[Ready], changing: Sequence[Ready], before: Mapping[str, str]
) -> Mapping[str, str]:
    """What is made from variables once `changing` are written; what somebody else has made just so stays theirs."""
    if not ready:
        return before
    key = fingerprints.make_key(run.host.paths.state)
    written = {item.path for item in changing} | {path for path, digest in before.items() if digest}
    now = {
        item.path: file_digests.of_content(item.path, item.content, key) if item.path in written else ""
        for item in ready
    }
    return {**before, **now}


def remove_undeclared(
    run: Run, role: str, parsed: Manifest, kept: State, model: Model
) -> tuple[State, tuple[str, ...]]:
    """Remove what an earlier manifest of this role had made from variables and this one does not name, once verified.

    A file stays that a service mounts by its own name (without it the engine would make a folder in its place), or that
    the compose files name. So does one that holds something else by now: it is its writer's, and forgotten here; and
    one of which that cannot be said. Returns the paths of what was removed, too.
    """
    declared, services = declared_paths(role, parsed.files), run.host.paths.services
    # What a bundle brings by now is its own.
    made = {path: digest for path, digest in kept.made.items() if path not in kept.applied}
    former = {path: made[path] for path in made if path.startswith(f"{role}/") and path not in declared}
    if not former:
        return replace(kept, made=made), ()
    from agent.stages.compose_reads import named_by_compose  # noqa: PLC0415 - a dozen modules that few runs need

    found = {path: _now(run, path, digest) for path, digest in former.items()}
    needed = mounted(model, services) | named_by_compose(services, role, former)
    gone = tuple(sorted(path for path, what in found.items() if what == "ours" and path not in needed))
    files.remove_below(services, gone, kept.folders - needed)
    over = {*gone, *(path for path, what in found.items() if what == "theirs")}
    return replace(kept, made={path: digest for path, digest in made.items() if path not in over}), gone


def _now(run: Run, path: str, written: str) -> Literal["ours", "theirs", "unknown"]:
    """Whose the file is of which `written` is remembered."""
    try:
        key = fingerprints.read_key(run.host.paths.state)
        live = None if key is None else file_digests.of_live_content(path, run.host.paths.services, key)
    except HostError:
        return "unknown"
    if live is not None and live == written:
        return "ours"
    if key is None or (live is not None and written and not file_digests.by_one_key(live, written)):
        return "unknown"
    return "theirs"


def mounted(model: Model, services: Path) -> set[str]:
    """Every path below /opt/services that a service mounts, and every folder that a mounted one lies in."""
    mounts = [Path(mount) for service in model.services for mount in service.mounts]
    below = [mount.relative_to(services) for mount in mounts if mount.is_relative_to(services)]
    return {str(folder) for path in below for folder in (path, *path.parents)}


def live_digests(run: Run, role: str, declared: Sequence[HostFile], env: Mapping[str, Secret]) -> dict[str, str]:
    """Keyed digests of the files on the host whose variable has a value, for the labels of who mounts them.

    Not of others: what a hook makes where no value is given would be a change from one run to the next.
    """
    paths = [f"{role}/{item.path}" for item in declared if env.get(item.variable)]
    if not paths:
        return {}
    key = fingerprints.make_key(run.host.paths.state)
    return file_digests.digests_of_live(paths, run.host.paths.services, key)
