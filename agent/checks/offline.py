"""`check`: everything that can be told about a role's folder without AWS, Docker, root or a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from agent import compose_file
from agent.checks import bootstrap_file, bundle, images, manifest, references, services, unused
from agent.checks.bootstrap_file import BootstrapFile
from agent.checks.manifest import Declared
from agent.checks.report import Report
from agent.compose_file import ComposeFile, Finding, Place
from agent.compose_file.finding import error
from agent.errors import ComposeFileError
from agent.steps import project


def check(
    folder: Path, shown: Callable[[Path], str], bootstrap: Path | None = None, *, skip: tuple[str, ...] = ()
) -> Report:
    """Look at everything and report all of it; never raises for what it finds.

    `shown` is what messages call a path; `skip` are folders in `folder` that are no part of the bundle.
    """
    return Report.of(
        _findings(folder, shown, bootstrap_file.read(bootstrap, shown(bootstrap)) if bootstrap else None, skip)
    )


def _findings(
    folder: Path, shown: Callable[[Path], str], bootstrap: BootstrapFile | None, skip: tuple[str, ...]
) -> Iterator[Finding]:
    if bootstrap:
        yield from bootstrap.findings
    declared = manifest.read(folder / "vars.yaml", shown(folder / "vars.yaml"), bootstrap)
    yield from declared.findings
    files = bundle.read(folder, shown, skip)
    yield from bundle.findings(files, folder, shown)
    try:
        paths = project.find(folder, shown(folder))
    except ComposeFileError as failure:
        yield error(Place(shown(folder)), "compose-file-missing", failure.cause, failure.next_step)
        return
    composed = compose_file.read(paths, shown)
    yield from composed.findings
    yield from _of_project(composed, declared, files, bootstrap)


def _of_project(
    composed: ComposeFile, declared: Declared, files: tuple[bundle.BundleFile, ...], bootstrap: BootstrapFile | None
) -> Iterator[Finding]:
    yield from images.findings(composed)
    yield from services.missing_env_files(composed)
    yield from references.empty_defaults(composed)
    # A half-read file would make findings of what is only hidden in its other half.
    if declared.readable:
        withheld = {place for file in files for place in file.withheld}
        yield from references.undeclared(composed, declared, bootstrap, withheld)
    if declared.readable and composed.whole:
        yield from services.containers(composed, declared)
        yield from services.checked(composed, declared)
        yield from unused.findings(composed, declared, files)
