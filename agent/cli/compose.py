"""`delphi-agent compose ARGS ...`: Docker Compose on the role's project, as the agent itself calls it.

A plain `docker compose up` would start containers with blank secrets, and without the agent's labels.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from agent import inquiry
from agent.cli import stops
from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.compose_file import project_file
from agent.errors import UnresolvedError, combine
from agent.host import attached, files
from agent.host.side_by_side import within
from agent.inquiry import Inquiry
from agent.report.record import Ending
from agent.run import Options, Run
from agent.secret import Secret
from agent.stages import host, project, registry
from agent.steps import registry as registry_files
from agent.steps import state
from agent.steps.project import Project
from agent.steps.release import deployed_tag
from agent.steps.state import State

_WITHOUT_DEFAULT = frozenset({"$NAME", "${NAME}"})
# What may have to pull, and so needs the registry's token.
_PULLING = frozenset({"build", "create", "pull", "push", "run", "up"})
# What an operator sees at a terminal is the operator's: colours, width, editor.
_FROM_TERMINAL = ("TERM", "LANG", "LC_ALL", "COLUMNS", "NO_COLOR")


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Run Compose to its end; returns its exit code."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words

    def work(made: Run) -> Ending:
        registry_files.erase_left_behind(made.host.paths)
        asked = inquiry.ask(made, arguments.bootstrap, arguments.manifest)
        if asked.errors:
            raise combine(asked.errors)
        kept, _ = state.load(made.host.paths.state, None)
        # A folder of its own: a run of the agent may be at work beside it.
        private = made.host.paths.of_compose(os.getpid())
        files.make_folder(made.host.paths.run, 0o755)
        try:
            opened = _open(made, asked, kept, private, pulls=bool(_PULLING.intersection(words)))
            own = {name: Secret(surroundings.environ[name]) for name in _FROM_TERMINAL if name in surroundings.environ}
            command = replace(opened, env={**own, **opened.env}).command(*words)
            stops.settle()
            code = attached.run(command)
        finally:
            files.erase_folder(private)
        return Ending(outcome="done", exit_code=code, text="")

    return conclude(arguments, surroundings, work, Options())


def _open(made: Run, asked: Inquiry, kept: State, private: Path, *, pulls: bool) -> Project:
    """The project with everything that `init` gives it: values, the deployed tag, labels, and a login where needed."""
    files.make_folder(private, 0o700)
    login = None
    if pulls:
        cloud = asked.cloud or host.identify(made, asked.bootstrap)
        login = within(
            made.deadline, "logging in to the registry", lambda: registry.log_in(made, asked.bootstrap, cloud)
        )
    registry.write_docker_config(made, login, private / "docker")
    opened = project.open_project(made, asked.bootstrap, asked.resolution, None, private / "docker")
    tag = deployed_tag(kept, made.host.paths.role(asked.bootstrap.role) / ".ecr-tag")
    if tag is not None:
        opened = replace(opened, env={**opened.env, "ECR_TAG": Secret(tag)})
    _refuse_blanks(opened)
    model = project.read_model(made, opened)
    return project.label(made, opened, model, kept, private / "override", declared=asked.manifest.files)


def _refuse_blanks(opened: Project) -> None:
    """Name every `${VAR}` of the compose files that has no value: Compose would make it an empty one."""
    uses = project_file.read(opened.files).uses
    blank = [use for use in uses if use.form in _WITHOUT_DEFAULT and use.name not in opened.env]
    if blank:
        raise UnresolvedError(
            f"reading the compose files of {opened.shown}",
            f"no value for {', '.join(dict.fromkeys(use.name for use in blank))}",
            "declare them in vars.yaml, or give them a default: ${NAME:-...}",
            details=[f"{use.place}: {use.name}" for use in blank],
        )
