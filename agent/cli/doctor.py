"""`delphi-agent doctor`: every precondition of a run, a line each, with the fix. Changes nothing."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path

from agent import compose_file
from agent.cli.streams import SteadyStream, put
from agent.cli.terminal import Surroundings
from agent.compose_file import ComposeFile
from agent.doctor import policy, report
from agent.doctor.examine import budget, examine
from agent.doctor.facts import Facts
from agent.errors import BundleMissing, ComposeFileError
from agent.host import processes
from agent.host.clock import Deadline, SystemClock
from agent.host.command import SystemCommands
from agent.host.engine import Engine
from agent.host.host import Host
from agent.host.paths import Paths
from agent.secret import Redactor
from agent.steps import bootstrap, bundle, project
from agent.variables import manifest


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print what was found; the exit code is 0 without faults, else that of the gravest."""
    clock, paths = SystemClock(), Paths.below(arguments.root)
    # No roster: nothing is written, and the guardian ends what a killed doctor leaves.
    commands = SystemCommands()
    host = Host(paths=paths, clock=clock, commands=commands, environ=surroundings.environ, uid=os.geteuid())
    deadline = Deadline.after(clock, budget(_age()))
    facts = Facts(
        host=host,
        engine=Engine(host.docker_host, deadline),
        redactor=Redactor(),
        bootstrap_file=arguments.bootstrap or paths.bootstrap,
        slug=arguments.slug,
        manifest_file=arguments.manifest,
    )
    if arguments.iam_policy:
        return _iam_policy(arguments, surroundings, facts)
    # What libraries warn about themselves is no finding.
    logging.captureWarnings(capture=True)
    try:
        lines = examine(facts, deadline)
    finally:
        commands.end_all()
    show = report.document if arguments.json else report.text
    SteadyStream(surroundings.out).write(show(lines, facts.redactor.clean))
    return report.exit_code(lines)


def _age() -> float:
    """Seconds since this process was started: what loading has taken comes off what the user was promised."""
    started = processes.start_time(os.getpid())
    return 0.0 if started is None else (processes.now() - started) / os.sysconf("SC_CLK_TCK")


def _iam_policy(arguments: argparse.Namespace, surroundings: Surroundings, facts: Facts) -> int:
    """Print the policy that the role of this host needs, from its files alone."""
    facts.bootstrap = bootstrap.load(facts.bootstrap_file, str(facts.bootstrap_file))
    path = facts.manifest_file or facts.role_folder / bundle.MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        cause = error.strerror or str(error)
        raise BundleMissing(f"reading {path}", cause, "name it: --manifest FILE, beside its compose file") from error
    facts.manifest = manifest.parse(data, bundle.MANIFEST, known=facts.bootstrap.variables)
    role = policy.Role(
        bootstrap=facts.bootstrap,
        manifest=facts.manifest,
        compose=_composed(path.parent, facts.host.paths),
        slug=facts.slug,
        kms_keys=tuple(arguments.kms_key),
    )
    code = put(surroundings.out, f"{json.dumps(policy.policy(role), indent=2)}\n")
    for note in () if code else policy.notes(role):
        print(f"note: {note}", file=surroundings.err)
    return code


def _composed(folder: Path, paths: Paths) -> ComposeFile:
    """The compose files in `folder`. Faults are the policy's to note, unless one cannot be read at all."""
    composed = compose_file.read(project.find(folder, paths.shown(folder)), paths.shown)
    if not composed.whole:
        faults = [f"{finding.place}: {finding.text}" for finding in composed.findings]
        raise ComposeFileError(
            "reading the compose files", "; ".join(faults), "correct the file; `delphi-agent check` says more"
        )
    return composed
