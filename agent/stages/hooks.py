"""The bundle's hooks, run where something is started; each is told line by line at level debug."""

from __future__ import annotations

import functools

from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.steps import hooks
from agent.steps.hooks import Moment
from agent.steps.project import Project
from agent.steps.stage import Staged


def run_pre_up(run: Run, opened: Project, staged: Staged | None = None) -> None:
    """Run `hooks/pre-up.d`: the files are in place, no container was touched."""
    _run(run, opened, "pre-up", staged)


def run_post_up(run: Run, opened: Project, staged: Staged | None = None) -> None:
    """Run `hooks/post-up.d`: every service is well and every check has passed."""
    _run(run, opened, "post-up", staged)


def _run(run: Run, opened: Project, moment: Moment, staged: Staged | None) -> None:
    found = hooks.find(opened.folder, moment, frozenset(staged.removed if staged is not None else ()))
    run.warn("hooks.skipped", *found.skipped)
    if not found.hooks:
        return
    with run.step(moment, f"running the hooks of hooks/{moment}.d") as step:
        for hook in found.hooks:
            record.progress(detail=hook.name)
            hooks.run(
                hook,
                opened,
                run.host.commands,
                run.deadline,
                tell=functools.partial(_tell_said, hook.name),
                clean=run.redactor.clean,
            )
        step.detail = f"{amount(len(found.hooks), 'hook')}: {', '.join(hook.name for hook in found.hooks)}"


def _tell_said(name: str, line: str) -> None:
    record.say("debug", "hook.said", f"{name}: {line}")
