"""The steps of `clean --for-image`: nothing of a host is left for the instances that are made of it.

Removed first, proven after: what is left fails the build of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.errors import AgentError, HostError
from agent.host import json_input
from agent.host.paths import Paths
from agent.report.words import amount
from agent.run import Run
from agent.secret import Secret
from agent.stages.host import locked
from agent.steps import bootstrap, fingerprints, proof, state, traces
from agent.steps.state import State
from agent.steps.traces import Removed


def clean(run: Run, *, ssh_keys: bool) -> Sequence[Removed]:
    """Remove containers and every trace of this host; `HostError` with what is left when something is."""
    paths = run.host.paths
    with locked(run, status=False):
        known = _known(paths)
        run.redactor.learn(known.values())
        _remove_containers(run)
        with run.step("traces", "removing what is this host's own") as step:
            removed = tuple(traces.remove(paths, _kept(paths), ssh_keys=ssh_keys))
            step.detail = f"{amount(len(removed), 'thing')} removed" if removed else "there was nothing"
        with run.step("proof", "looking for what is left of this host") as step:
            left = list(proof.findings(paths, known))
            if left:
                raise HostError(
                    "making this host an image",
                    f"{amount(len(left), 'thing')} of this host would be in it",
                    "remove these, then run it again; do not make the image",
                    details=left,
                )
            step.detail = "nothing"
    return removed


def _remove_containers(run: Run) -> None:
    """All of them, whoever started them: with a restart policy they would start on every instance of the image."""
    with run.step("containers", "removing the containers") as step:
        if not run.host.paths.docker_socket.exists():
            step.detail = "there is no Docker engine"  # the proof looks for containers that one has left
            return
        gone = run.engine.remove_all_containers()
        step.detail = f"{amount(len(gone), 'container')} removed"


def _kept(paths: Paths) -> State:
    """A state that cannot be read goes like any other; what it brought cannot be told from other files then."""
    try:
        return state.load(paths.state, None)[0]
    except AgentError:
        return State(instance_id="")


def _known(paths: Paths) -> Mapping[str, Secret]:
    """The secrets and identities of this host that are known before they are removed, by what they are."""
    known: dict[str, Secret] = {}
    try:
        for number, value in enumerate(bootstrap.load(paths.bootstrap, str(paths.bootstrap)).secrets()):
            known[f"a secret of the bootstrap file ({number + 1})"] = value
    except AgentError:
        known |= _keys_in(paths)
    key = fingerprints.read_key(paths.state)
    if key is not None:
        known["the fingerprint key"] = key
    for name, what in (("/etc/machine-id", "the machine id"), ("/var/lib/docker/engine-id", "the engine's id")):
        text = _text(paths, name)
        if text:
            known[what] = Secret(text)
    for registry, auth in _logins(paths).items():
        known[f"the login to {registry}"] = Secret(auth)
    return known


def _keys_in(paths: Paths) -> dict[str, Secret]:
    """Of a bootstrap file that does not load: what stands behind the names of secrets."""
    lines = (line.partition("=") for line in _text(paths, "/opt/deployment/.env").splitlines())
    return {
        f"{name.strip()} of the bootstrap file": Secret(value.strip().strip("'\""))
        for name, _, value in lines
        if name.strip().removeprefix("export ") in bootstrap.KEYS and value.strip()
    }


def _text(paths: Paths, name: str) -> str:
    try:
        return paths.at(name).read_text(errors="replace").strip()
    except OSError:
        return ""


def _logins(paths: Paths) -> dict[str, str]:
    try:
        auths = json_input.loads(_text(paths, "/root/.docker/config.json"))["auths"]
        return {name: str(entry["auth"]) for name, entry in auths.items() if traces.is_ecr(name) and "auth" in entry}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
