"""All checks in the order in which they are told, root causes first; and how they build on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from agent.doctor import aws, compose_files, engine, host, identity, network, project, registry, runs, values
from agent.doctor.board import Board, Check, Work
from agent.doctor.facts import Facts
from agent.doctor.line import Line
from agent.host.clock import Deadline

# From the process's start to the last answer: what is not known by then says so. A host that loads Python for longer
# than the rest still gets the least.
SECONDS, LEAST_SECONDS = 7.75, 5.0
# Two tries of a hasty session, with the pause between them.
_CALL_SECONDS = 3.45
_HANGS = "it hangs: `journalctl -u docker`, the host's disks and load; then `systemctl restart docker`"
# Whose answers tell the time.
_ANSWERED = ("identity", "credentials", "bundle", "parameters", "secrets", "registry", "images")


def budget(age: float) -> float:
    """What a process that is `age` seconds old has for the examination."""
    return max(LEAST_SECONDS, SECONDS - age)


def examine(facts: Facts, deadline: Deadline) -> list[Line]:
    """Look at everything; the lines in their fixed order. Changes nothing, and ends in time."""
    return Board(checks(facts), deadline, root=facts.host.uid == 0).examine()


def checks(facts: Facts) -> list[Check]:
    """Each check by the name that its lines have."""

    def plain(work: Callable[[Facts], Iterable[Line]]) -> Work:
        return lambda _: work(facts)

    def timed(work: Callable[[Facts, Deadline], Iterable[Line]]) -> Work:
        return partial(work, facts)

    boot, call = ("bootstrap file",), _CALL_SECONDS
    return [
        Check(name="bootstrap file", work=plain(host.bootstrap_file)),
        Check(name="cloud-init", work=plain(host.cloud_init)),
        Check(name="lock", work=plain(runs.lock)),
        Check(name="file systems", work=plain(host.file_systems), after=("engine",)),
        Check(name="state", work=plain(runs.kept_state), after=("lock",)),
        Check(name="daemon.json", work=plain(engine.settings)),
        Check(name="engine", work=timed(engine.engine), slow=_HANGS),
        Check(name="compose plugin", work=timed(engine.compose_plugin)),
        Check(name="clock", work=plain(host.clock), needs=boot, after=_ANSWERED),
        Check(name="endpoints", work=plain(network.endpoints), needs=boot, seconds=SECONDS),
        Check(name="proxy", work=timed(network.proxy), needs=("endpoints",)),
        Check(name="DNS", work=timed(network.names), needs=("endpoints",)),
        Check(name="metadata", work=timed(identity.metadata), needs=boot),
        Check(name="identity", work=timed(identity.who), needs=("metadata",)),
        Check(name="credentials", work=plain(identity.known), needs=("DNS", "proxy", "identity"), seconds=call),
        Check(name="bundle", work=plain(aws.find_bundle), needs=("credentials",), seconds=call),
        Check(name="manifest", work=plain(aws.read_manifest), needs=boot, after=("bundle",)),
        Check(name="compose files", work=plain(compose_files.read), needs=("bundle",), seconds=call),
        Check(name="mounts", work=plain(project.mounts), needs=("manifest",)),
        Check(name="parameters", work=plain(aws.read_parameters), needs=("credentials", "manifest"), seconds=call),
        Check(name="secrets", work=timed(aws.read_secrets), needs=("credentials", "manifest"), seconds=call),
        Check(name="variables", work=timed(values.settle), needs=("parameters", "secrets")),
        Check(name="registry", work=plain(aws.log_in), needs=("credentials",), seconds=call),
        Check(
            name="images",
            work=timed(registry.images),
            needs=("registry", "compose files", "manifest"),
            after=("variables",),
        ),
        Check(name="engine proxy", work=plain(engine.engine_proxy), needs=("bootstrap file", "engine")),
        Check(name="containers", work=timed(project.containers), needs=("bootstrap file", "engine"), after=("state",)),
        Check(name="blank values", work=plain(project.blank), needs=("containers", "manifest"), after=("variables",)),
        Check(name="leftovers", work=plain(project.leftovers), needs=boot, after=("bundle",)),
        Check(name="telemetry", work=timed(values.collector), needs=("manifest",), after=("variables",)),
        Check(name="hop limit", work=plain(identity.hop_limit), needs=("identity",)),
    ]
