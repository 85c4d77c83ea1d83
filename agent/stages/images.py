"""The project's images: at hand before anything changes."""

from __future__ import annotations

import functools

from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.steps import compose
from agent.steps.compose import Model
from agent.steps.project import Project


def pull_images(run: Run, opened: Project, model: Model) -> None:
    """Pull every image, before anything changes."""
    with run.step("pull", "pulling the images") as step:
        if not run.options.images_wanted:
            step.detail = "skipped"
            return
        total = amount(len(model.services), "service")
        tell = functools.partial(_tell_pulled, total)
        compose.pull(opened, run.host.commands, run.deadline, tell)
        step.detail = amount(len(model.images), "image")


def _tell_pulled(total: str, done: int) -> None:
    record.progress(detail=f"{done} of {total}")
