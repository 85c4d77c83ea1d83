"""The project's compose files as a run would see them: the bundle's, read from the bucket, and the host's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent import compose_file
from agent.doctor.bundle_files import BundleFiles
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok
from agent.errors import ComposeFileError, HostError
from agent.report.words import amount
from agent.steps import project, state
from agent.steps.records import BundleFile


def read(facts: Facts) -> Iterator[Line]:
    """They are there, with all that they include and extend, and hold nothing that Compose would refuse."""
    paths, listing = facts.host.paths, facts.listing
    assert listing is not None  # noqa: S101 - the check that this one needs has seen to it
    files = BundleFiles(listing, facts.bucket, paths.services, _former(facts))

    def shown(path: Path) -> str:
        path = Path(os.path.normpath(path))
        inside = path.is_relative_to(paths.services)
        return str(path.relative_to(paths.services)) if inside else paths.shown(path)

    found = project.find(facts.role_folder, f"the bundle's {listing.role}/", files.is_file)
    facts.composed = composed = compose_file.read(found, shown, files)
    for finding in composed.findings:
        yield fail(ComposeFileError(f"reading {finding.place}", finding.text, finding.next_step))
    if not composed.findings:
        names = ", ".join(shown(path) for path in composed.files)
        yield ok(f"{names}: {amount(len(composed.services), 'service')}")


def _former(facts: Facts) -> Mapping[str, BundleFile]:
    """What earlier bundles brought; nothing where no record can be read."""
    try:
        return state.load(facts.host.paths.state, None)[0].applied
    except HostError:
        return {}
