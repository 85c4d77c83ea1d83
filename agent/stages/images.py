"""The project's images: at hand before anything changes."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from agent.aws.tags import Tags
from agent.errors import AgentError, EngineError, Interrupted
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.steps import images, pull, state
from agent.steps.compose import Model
from agent.steps.project import Project
from agent.steps.records import Release
from agent.steps.state import State


def to_pull(run: Run, model: Model, tags: Tags | None) -> Mapping[str, Sequence[str]]:
    """Each image that has to be pulled, with its services: those that are not known to be the registry's own.

    What the registry has is seen in this run; where that could not be, a pull finds it out.
    """
    if not run.options.images_wanted:
        return {}
    with run.step("tags", "finding out which images have changed") as step:
        wanted = images.to_pull(run.engine, model)
        if tags is not None:
            same = _unmoved(run, model, wanted, tags)
            wanted = {reference: names for reference, names in wanted.items() if reference not in same}
        step.detail = f"{len(wanted)} of {amount(len(model.images), 'image')} to pull"
    return wanted


def _unmoved(run: Run, model: Model, wanted: Iterable[str], tags: Tags) -> frozenset[str]:
    """What is known to be the registry's; nothing when the engine does not say: who needs its answer tells of that."""
    try:
        there = images.in_doubt(run.engine, model, wanted, os.uname().machine)
    except EngineError:
        return frozenset()
    return images.unmoved(there, tags.digests(there, run.deadline))


def pull_images(
    run: Run, opened: Project, model: Model, wanted: Mapping[str, Sequence[str]], log_in_again: Callable[[], None]
) -> None:
    """Pull these images, before anything changes; when none is wanted, see that each is on the host already.

    `log_in_again` gets a fresh token and puts it where Compose looks; it is called once at most, after a refusal.
    """
    with run.step("pull", "pulling the images") as step:
        if not run.options.images_wanted:
            images.expect(run.engine, model)
            step.detail = "skipped"
            return
        tell = functools.partial(_tell_pulled, amount(len(wanted), "image"))
        pull.pull(opened, run.host.commands, run.deadline, wanted, log_in_again=log_in_again, tell=tell)
        step.detail = amount(len(wanted), "image") if wanted else "none has changed"


def _tell_pulled(total: str, done: int) -> None:
    record.progress(detail=f"{done} of {total}", waiting_for="")


@contextlib.contextmanager
def names_kept(run: Run, kept: State, back_to: Release | None) -> Iterator[None]:
    """Let the current release's names have its images again when a rollback ends before a container was touched.

    A run that recreates a container without a pull would else start it of the other release's image. What was started
    is in the state.
    """
    try:
        yield
    except (AgentError, Interrupted):
        now, _ = state.load(run.host.paths.state, None)
        if back_to is None or kept.current is None or (now.started, now.current) != (kept.started, kept.current):
            raise
        run.see_through()
        try:
            images.name_again(run.engine, kept.current.references, instead_of=back_to.references)
        except AgentError as second:
            run.warn("images.names", f"names of images may still be those of release {back_to.number}: {second}")
        raise


def put_back_images(
    run: Run, opened: Project, release: Release, log_in_again: Callable[[], None] | None = None
) -> None:
    """Let the names in the release's compose file have its images again; pull those that the host has lost.

    Raises `ImageMissing` when one is gone from the registry too; until then no name has moved.
    """
    with run.step("images", f"putting the images of release {release.number} back") as step:
        by_digest = functools.partial(
            pull.pull_name, opened, run.host.commands, run.deadline, log_in_again=log_in_again
        )
        moved = images.put_back(run.engine, release.references, release.digests, by_digest)
        step.detail = f"{amount(len(moved), 'image')} put back" if moved else "all are in place"
