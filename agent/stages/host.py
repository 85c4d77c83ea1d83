"""The host and who it is: bootstrap file, lock, identity, state of earlier runs.

Each function is one step: it opens it in the record, calls the verb of its module in `steps/`, and says in a few words
what came of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.aws import chain, endpoints
from agent.aws.imds import Imds
from agent.aws.retrying import place_of
from agent.aws.session import AwsSession
from agent.dataclass import dataclass
from agent.errors import BootstrapError, HostError, StateBroken
from agent.host import leftovers, lock
from agent.host.proxy import Proxies
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.stages import first_values
from agent.stages.unit import start_unit
from agent.steps import (
    archive,
    bootstrap_change,
    fingerprints,
    identity,
    state,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.identity import Identity
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Who the instance is, and the services that it may ask."""

    identity: Identity
    imds: Imds
    session: AwsSession


def load_bootstrap(run: Run, path: Path | None = None, *, writes: bool = False) -> Bootstrap:
    """Read and check the bootstrap file; from here on its secrets are taken out of everything that people read.

    With `writes` (only `init` does) an absent file is made from the instance's user data or tags, when they hold one;
    with the file there, the boot's unit can be started, and joins this run.
    """
    own = path is None or path == run.host.paths.bootstrap
    path = path or run.host.paths.bootstrap
    with run.step("bootstrap", f"reading {path}") as step:
        source = first_values.supply(run, path, writes=writes) if own else ""
        if source:
            # Before the file is checked: the unit also tells of a boot that ends here, when that is held.
            start_unit(run)
        loaded = first_values.load(run, path, own=own)
        run.redactor.learn(loaded.secrets())
        step.detail = f"{path}: {amount(len(loaded.variables), 'variable')}"
        if source:
            step.detail += f", written from {source}"
    run.warn("bootstrap.warning", *loaded.warnings)
    if own and not source:
        run.warn("cloud-init.warning", *first_values.findings(run, path).warnings)
    return loaded


@contextlib.contextmanager
def locked(run: Run, *, status: bool = True) -> Iterator[None]:
    """Hold the host's lock: two runs never meet. A run that is refused leaves the status file to the other one.

    What a killed run has left running is ended before anything is done. Without `status` the run does not show there at
    all: it is no deploy.
    """
    head = run.recorder.head
    owner = lock.Owner(pid=head.pid, command=head.command, user=head.user, started=head.started_at)
    with contextlib.ExitStack() as stack:
        with run.step("lock", "taking the lock"):
            wait = min(run.options.lock_wait, run.deadline.left())
            stack.enter_context(lock.held(run.host.paths.lock, owner, run.host.clock, wait, _wait_for_other))
            if status:
                for sink in run.keepers:
                    run.recorder.attach(sink)
            ended = leftovers.end(
                run.host.paths.children, run.host.clock, lambda text: record.progress(waiting_for=text)
            )
        run.warn("leftovers.ended", *ended)
        yield


def _wait_for_other(who: str) -> None:
    record.progress(waiting_for=f"another run: {who}")


def identify(run: Run, loaded: Bootstrap) -> Cloud:
    """Find out who this instance is to AWS; waits for IMDS only when its role is what counts."""
    # The scripts sourced the file: what it sets wins over the shell that the agent was started from.
    variables = {**run.host.environ, **loaded.variables}
    proxies = Proxies.of(loaded.variables)
    if faults := list(endpoints.faults(variables)):
        raise BootstrapError(  # the file has passed: it can only be what the agent was started with
            "reading the agent's own environment", "; ".join(faults), "correct or unset it, or set it in the file"
        )
    with run.step("identity", "finding out who this instance is") as step:
        imds = Imds(variables)
        provided = None if loaded.keys else chain.find(variables, loaded.region, proxies)
        who = identity.establish(loaded, imds, run.host.paths, run.deadline, provided)
        step.detail = who.text
    run.warn("identity.warning", *who.warnings)
    # A fleet boots at once, and nobody looks; an operator is never made to wait for its sake.
    place = place_of(who.instance_id) if run.recorder.head.boot else None
    session = AwsSession(loaded.region, who.credentials, proxies, variables, deadline=run.deadline, place=place)
    return Cloud(identity=who, imds=imds, session=session)


def recall(run: Run, cloud: Cloud, *, repair: bool = False) -> State:
    """What the host remembers of earlier runs; `repair` goes on without what cannot be read, and says so."""
    folder = run.host.paths.state
    try:
        kept, foreign = state.load(folder, cloud.identity.instance_id)
    except StateBroken as error:
        if not repair:
            raise
        aside = state.set_aside(folder)
        kept, foreign = State(instance_id=cloud.identity.instance_id, applied=archive.latest(folder)), None
        run.warn("state.broken", f"{error}; it is now {aside}, and the releases in it are forgotten")
    if foreign is not None:
        fingerprints.forget_key(folder)
        run.warn("state.foreign", foreign)
    return kept


def finish_bootstrap(run: Run, loaded: Bootstrap, kept: State) -> tuple[Bootstrap, State]:
    """Write to the bootstrap file what a verified release has still to write: its run was ended in between.

    Returns the file with these values, and the state after it; the run goes by them also where they still cannot be
    written, or it would go back by itself. `kept` is this instance's own state: what another one had to write, whose
    image this is, is not for this file.
    """
    if not kept.bootstrap:
        return loaded, kept
    values = bootstrap_change.unwritten(loaded.path, kept.bootstrap)
    try:
        write_bootstrap(run)
    except (HostError, BootstrapError) as error:
        told = ", ".join(f"{name}={value}" for name, value in values.items())
        run.warn("bootstrap.unwritten", f"{error}; deployed is {told}, and that is what this run goes by")
    else:
        kept = replace(kept, bootstrap={})
    return loaded.changed(values), kept


def write_bootstrap(run: Run) -> None:
    """Give tag and ref of the verified release to the bootstrap file, all other bytes untouched (contract section 6).

    A value that is not the one of before any more is left as it is: somebody has decided otherwise since.
    """
    folder, path = run.host.paths.state, run.host.paths.bootstrap
    kept, _ = state.load(folder, None)
    if not kept.bootstrap:
        return
    with run.step("persist", f"writing {path}") as step:
        changed = bootstrap_change.persist(path, kept.bootstrap)
        state.save(folder, replace(kept, bootstrap={}))
        step.detail = ", ".join(f"{name}={value}" for name, value in changed.items()) or "nothing to write"


def warn_of_former_role(run: Run, loaded: Bootstrap, kept: State) -> None:
    """Another role's containers are nobody's business here, but somebody has to know that they run on."""
    current = kept.current
    if current is not None and current.role != loaded.role:
        run.warn(
            "role.changed",
            f"this host had the role {current.role}: its containers and files are left as they are; to end them:"
            f" docker compose --project-name {current.role} down",
        )
