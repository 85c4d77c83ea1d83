"""The end of a run: the release recorded, images pruned, traces removed, the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from agent.errors import AgentError
from agent.host import files
from agent.host.paths import Paths
from agent.report.record import Ending, ServiceLine
from agent.report.words import amount
from agent.run import Run
from agent.stages.fetching import Fetched
from agent.stages.health import Deployed
from agent.stages.host_files import mounted, remove_undeclared
from agent.stages.values import Values
from agent.steps import (
    images,
    registry,
    release,
    stage,
    state,
)
from agent.steps import journal as journals
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import COMMON
from agent.steps.compose import Model
from agent.steps.fingerprints import Difference
from agent.steps.prune import prune
from agent.steps.records import Failed, Release, Started
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.variables.manifest import Manifest

Outcome = Literal["verified", "unchanged"]
VERIFIED: Outcome = "verified"
UNCHANGED: Outcome = "unchanged"


def attempt_of(run: Run, loaded: Bootstrap, fetched: Fetched, *, kept: State, values: Values, model: Model) -> Release:
    """The release that this deploy will be when it is verified; its number and services come then."""
    current = kept.current
    bundle = kept.files_of(loaded.role, COMMON) if fetched.staged is None else fetched.staged.files
    references, digests = images.identities(run.engine, model)
    return Release(
        number=0,
        role=loaded.role,
        slug=fetched.slug or (current.slug if current else ""),
        ref=loaded.ref,
        tag=loaded.tag,
        bundle=stage.digest_of(bundle),
        images={},
        verified_at="",
        values=values.fingerprints,
        references=references,
        digests=digests,
        irreversible=values.manifest.irreversible,
        project=model.name,
    )


def keep_release(
    run: Run,
    attempt: Release,
    kept: State,
    *,
    staged: Staged | None,
    deployed: Deployed,
    model: Model,
    manifest: Manifest,
    changes: Mapping[str, tuple[str, str]],
) -> State:
    """Record what was seen healthy, after removing what only the former bundle or manifest brought.

    A folder that a service mounts stays, empty or not.
    """
    paths, journal, before = run.host.paths, kept.journal, kept.current
    with run.step("record", "recording the release") as step:
        if staged is not None:
            removed = set(staged.removed)
            files.remove_below(paths.services, staged.removed, kept.folders - mounted(model, paths.services))
            kept = replace(
                kept,
                applied={path: file for path, file in kept.applied.items() if path not in removed},
                folders=frozenset(path for path in kept.folders if (paths.services / path).is_dir()),
            )
        kept, gone = remove_undeclared(run, attempt.role, manifest, kept, model)
        made = replace(
            attempt,
            images={item.service: item.container.image for item in deployed.health if item.container},
            verified_at=run.host.clock.now().isoformat(timespec="seconds"),
        )
        back = kept.started is not None and kept.started.back_to is not None
        pending = {**kept.bootstrap, **{name: _since(kept, name, pair) for name, pair in changes.items()}}
        kept = release.record(paths.state, replace(kept, bootstrap=pending), made)
        if back and before is not None:
            kept = _leave(run, kept, before)
        run.warn("release.tag-file", *release.write_tag(paths.role(made.role) / ".ecr-tag", made.tag))
        if journal is not None:
            journals.seal(journal, paths.state)
        journals.forget(paths.state, _needed(kept))
        step.detail = f"release {kept.current.number}" if kept.current else ""
        if gone:
            step.detail += f"; removed what `files` names no more: {', '.join(gone)}"
    return kept


def _since(kept: State, name: str, pair: tuple[str, str]) -> tuple[str, str]:
    """Old and new value; what an earlier run could not write yet is still the old one in the file."""
    return (kept.bootstrap[name][0], pair[1]) if name in kept.bootstrap else pair


def _leave(run: Run, kept: State, before: Release) -> State:
    """An operator went back from `before`: where the bucket still has it under this ref, no boot brings it back."""
    left = replace(before, number=0, images={}, verified_at="")
    current = kept.current
    if current is None or left.starts_like(current):
        return kept
    at = run.host.clock.now().isoformat(timespec="seconds")
    kept = replace(kept, failed=Failed(release=left, at=at, cause="an operator went back from it", left=True))
    state.save(run.host.paths.state, kept)
    return kept


def remove_strangers(run: Run, model: Model) -> None:
    """After going back: end what the failed release started and the restored one does not know.

    Compose leaves a service alone whose profile is not active, and networks of the release before.
    """
    wanted = {service.name for service in model.services}
    strange = [item for item in run.engine.containers(model.name) if item.service not in wanted]
    for container in strange:
        run.engine.remove_container(container)
    gone = [*(item.name for item in strange), *run.engine.remove_networks(model.name, model.networks)]
    if gone:
        run.warn("restore.removed", f"removed what only the failed release had: {', '.join(gone)}")


def close_transaction(run: Run) -> None:
    """What was started and not verified has been taken back, and the files of the restored manifest are in place."""
    folder = run.host.paths.state
    kept, _ = state.load(folder, None)
    if kept.started is not None or kept.journal is not None:
        state.save(folder, replace(kept, started=None, journal=None))
    if kept.journal is not None:
        journals.seal(kept.journal, folder)


def keep_started(run: Run, kept: State, attempt: Release, back_to: int | None) -> State:
    """Remember, before a container is touched, what is being started: a killed run leaves that behind."""
    earlier = kept.started is not None and kept.started.irreversible
    text = f"{attempt.ref}, tag {attempt.tag}"
    if earlier and kept.started is not None and not attempt.irreversible:
        text = kept.started.text
    started = Started(text=text, irreversible=attempt.irreversible or earlier, back_to=back_to)
    kept = replace(kept, started=started)
    state.save(run.host.paths.state, kept)
    return kept


def _needed(kept: State) -> set[int]:
    """Numbers of releases whose contents are kept; 0 is what was on the host before the first."""
    numbers = {item.number for item in kept.releases}
    return numbers | {0} if 1 in numbers else numbers


def keep_failure(run: Run, attempt: Release, failure: AgentError) -> None:
    """Remember that this very release failed and was taken back, so that no reboot tries it again."""
    kept, _ = state.load(run.host.paths.state, None)
    if kept.failed is not None and kept.failed.is_again(attempt):
        return  # with what was said of it the first time
    at = run.host.clock.now().isoformat(timespec="seconds")
    failed = Failed(release=attempt, at=at, cause=run.redactor.clean(failure.cause))
    state.save(run.host.paths.state, replace(kept, failed=failed))


def prune_images(run: Run, model: Model, kept: State) -> None:
    """Remove unused images of this project; a failure here is told, it does not undo a verified deploy."""
    with run.step("prune", "removing unused images") as step:
        try:
            gone = prune(run.engine, kept, model.images)
        except AgentError as error:
            step.detail = "failed"
            run.warn("prune.failed", f"{error}; next: {error.next_step}")
        else:
            step.detail = f"{amount(len(gone), 'image')} removed"


def clean_up(paths: Paths) -> None:
    """Whatever happened: the registry token is erased and the staged tree is gone. Never raises.

    So is the token of each command `compose` that was killed: nobody else would erase it before the next reboot.
    """
    with contextlib.suppress(AgentError):
        files.erase_folder(paths.docker_config)
    registry.erase_left_behind(paths)
    with contextlib.suppress(AgentError):
        stage.discard(paths)


def ending(outcome: Outcome, kept: State, deployed: Deployed, difference: Difference) -> Ending:
    """The verdict that the run ends with."""
    current = kept.current
    number = f"release {current.number} ({current.ref}, tag {current.tag})" if current else "the release"
    done = "nothing changed, nothing was started" if outcome == "unchanged" else "every service was seen healthy"
    return Ending(
        outcome=outcome,
        exit_code=0,
        text=f"{number}: {done}",
        release=None if current is None else {**current.shown(), "changed_variables": difference.names},
        services=service_lines(deployed),
    )


def service_lines(deployed: Deployed) -> list[ServiceLine]:
    """The services for the summary: state, what was done to their container, and why it was replaced."""
    lines = []
    for item in deployed.health:
        what = deployed.actions.get(item.container.name, "unchanged") if item.container else ""
        if what == "recreated" and deployed.reasons.get(item.service):
            what += f": {deployed.reasons[item.service]}"
        lines.append(ServiceLine(item.service, item.state, what))
    return lines
