"""This host: bootstrap file, cloud-init, clock, file systems."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.aws import imds_machine
from agent.aws.clock_skew import TOLERATED_SECONDS, in_words
from agent.checks.other_readers import read_otherwise
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, skip, warn
from agent.errors import BootstrapError, HostError
from agent.report.words import amount, size
from agent.steps import bootstrap
from agent.steps import cloud_init as cloud_inits

DOUBTFUL_SECONDS = 30
_LEAST_BYTES, _FEW_BYTES = 64 << 20, 1 << 30
_LEAST_FILES, _FEW_FILES = 100, 10_000
_BY_CLOUD_INIT = (
    "cloud-init did not write it: look at its `write_files` and /var/log/cloud-init-output.log, or add it by hand"
)


def bootstrap_file(facts: Facts) -> Iterator[Line]:
    """It can be read as bash reads it, and every required name is set."""
    path = facts.bootstrap_file
    shown = facts.host.paths.shown(path)
    try:
        loaded = bootstrap.load(path, shown)
    except BootstrapError as error:
        if not error.details:
            raise
        yield from _faults(error)
        return
    facts.redactor.learn(loaded.secrets())
    facts.bootstrap = loaded
    yield ok(f"{shown}: {amount(len(loaded.variables), 'variable')}, role {loaded.role}")
    for text in loaded.warnings:
        yield warn(text, "correct the file, and the cloud-init template that writes it")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o022:
        yield warn(f"{shown}: others may write it (mode {mode:04o})", f"chmod 0600 {shown}")
    other = read_otherwise(path.read_bytes(), loaded.variables)
    if other:
        names = ", ".join(other)
        yield warn(
            f"python-dotenv, and tools like it, read another value than bash and the agent do: {names}",
            "write these values in single quotes",
        )


def _faults(error: BootstrapError) -> Iterator[Line]:
    """Each fault as a line of its own."""
    for fault in error.details:
        absent = " is not set" in fault and "did you mean" not in fault and " and " not in fault
        yield fail(BootstrapError("reading the bootstrap file", fault, _BY_CLOUD_INIT if absent else error.next_step))


def cloud_init(facts: Facts) -> Iterator[Line]:
    """What cloud-init's files say of this boot; never a fault by itself, but often the cause of one."""
    asset = imds_machine.look(facts.host.paths).instance_id
    found = cloud_inits.look(facts.host.paths, facts.bootstrap_file, asset)
    for text in (*found.causes, *found.warnings):
        yield warn(text, "cloud-init status --long; /var/log/cloud-init-output.log")
    if not found.causes and not found.warnings:
        yield ok("it has not run on this host" if found.ran is None else "done, without errors")


def clock(facts: Facts) -> Iterator[Line]:
    """This host's clock against the time on what AWS has answered."""
    ahead = facts.imds.ahead if facts.imds else None
    skews = [*facts.skews, *([ahead.total_seconds()] if ahead is not None else [])]
    if not skews:
        yield skip("nothing has answered with a time to compare with")
        return
    skew = min(skews, key=abs)
    fix = "set the clock: `timedatectl set-ntp true`, or see why chrony does not (`chronyc tracking`)"
    if abs(skew) >= TOLERATED_SECONDS:
        cause = f"it is {in_words(skew)}, which refuses its signatures"
        yield fail(HostError("comparing the clock with AWS's", cause, fix))
    elif abs(skew) >= DOUBTFUL_SECONDS:
        yield warn(f"it is {in_words(skew)}", fix)
    else:
        yield ok(f"{abs(skew):.0f} s from AWS's")


def file_systems(facts: Facts) -> Iterator[Line]:
    """Room, inodes and the right to write where a run writes; each file system once."""
    paths, seen = facts.host.paths, set()
    docker = facts.engine_info.get("DockerRootDir") or "/var/lib/docker"
    folders = (paths.services, paths.state, paths.run, paths.bootstrap.parent, paths.at(str(docker)))
    lines: list[Line] = []
    for wanted in folders:
        folder = next(path for path in (wanted, *wanted.parents) if path.is_dir())
        device = folder.stat().st_dev
        if device not in seen:
            seen.add(device)
            lines += _room(paths.shown(wanted), folder)
    yield from lines or [ok(f"writable, with room: {', '.join(paths.shown(folder) for folder in folders)}")]


def _room(shown: str, folder: Path) -> Iterator[Line]:
    found = os.statvfs(folder)
    free, doing = found.f_bavail * found.f_frsize, f"looking at the file system of {shown}"
    if found.f_flag & os.ST_RDONLY:
        fix = f"see `dmesg` for why, then mount -o remount,rw {shown}"
        yield fail(HostError(doing, "it is read-only", fix))
    elif free < _LEAST_BYTES:
        yield fail(HostError(doing, f"only {size(free)} are free", "free some space: `df -h`, `docker system df`"))
    elif found.f_files and found.f_favail < _LEAST_FILES:
        fix = "remove files: `df -i`, `docker system prune`"
        yield fail(HostError(doing, f"only {amount(found.f_favail, 'inode')} are free", fix))
    elif free < _FEW_BYTES or (found.f_files and found.f_favail < _FEW_FILES):
        text = f"{shown}: {size(free)} and {amount(found.f_favail, 'inode')} are free"
        yield warn(text, "free some space: `df -h`, `df -i`, `docker system df`")
