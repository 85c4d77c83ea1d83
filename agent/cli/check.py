"""`delphi-agent check`: what is wrong with a bundle, told on a laptop, in CI or on the host. Changes nothing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from agent.checks.offline import check
from agent.cli.streams import SteadyStream
from agent.cli.terminal import Surroundings
from agent.errors import UsageError
from agent.host.paths import Paths
from agent.shell import file as shell_file
from agent.steps.bootstrap_shape import faults_of_shape

_DOING = "looking for the folder to check"
# Made on the host beside the bundle (contract section 1): not what the bundle brought.
_HOST_LOCAL = ("tls", "data")


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print all findings; the exit code is 0 without errors, else that of the gravest."""
    paths = Paths.below(arguments.root)
    folder = arguments.folder.absolute() if arguments.folder else _on_host(paths, arguments.bootstrap)
    if not folder.is_dir():
        raise UsageError(_DOING, f"{paths.shown(folder)} is no folder", "name the role's folder of the bundle")
    here = Path.cwd()

    def shown(path: Path) -> str:
        # Below the working folder without it: annotations in a workflow are found by such paths only.
        whole = Path(os.path.normpath(path.absolute()))
        if arguments.folder and whole.is_relative_to(here):
            return str(whole.relative_to(here))
        return paths.shown(whole)

    skip = _HOST_LOCAL if folder.is_relative_to(paths.services) else ()
    report = check(folder, shown, arguments.bootstrap, skip=skip)
    text = {"text": report.text, "json": report.json, "github": report.github}[arguments.format]()
    stream = SteadyStream(surroundings.out)
    stream.write(text)
    stream.flush()
    return report.exit_code(strict=arguments.strict)


def _on_host(paths: Paths, bootstrap: Path | None) -> Path:
    """The role's folder by the bootstrap file; without one, the only folder that has a manifest."""
    role = _role(bootstrap or paths.bootstrap)
    if role:
        return paths.role(role)
    found = sorted(path.parent for path in paths.services.glob("*/vars.yaml"))
    if len(found) == 1:
        return found[0]
    place = paths.shown(paths.services)
    why = f"{len(found)} folders in {place} have a vars.yaml" if found else f"no folder in {place} has a vars.yaml"
    raise UsageError(
        _DOING,
        f"{paths.shown(paths.bootstrap)} names no role, and {why}",
        "name the folder: delphi-agent check DIR",
    )


def _role(file: Path) -> str:
    """SERVER_ROLE of a bootstrap file; empty when it cannot be read, or is no name of a folder."""
    try:
        values = shell_file.parse(file.read_bytes(), str(file)).values()
    except OSError:
        return ""
    role = values.get("SERVER_ROLE", "")
    return "" if any(faults_of_shape({"SERVER_ROLE": role})) else role
