"""`delphi-agent history`: the releases that can be gone back to, and the last runs with who started them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.host.paths import Paths
from agent.report import history
from agent.report.words import duration
from agent.steps import state
from agent.steps.state import State

SCHEMA = 1


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print both lists; returns the exit code."""
    paths = Paths.below(arguments.root)
    kept, _ = state.load(paths.state, None)
    runs = history.read(paths.history, max(0, arguments.runs))
    if arguments.json:
        text = json.dumps(_document(kept, runs), indent=1)
    else:
        text = "\n".join([*_releases(kept), "", *_runs(runs)])
    return put(surroundings.out, f"{text}\n")


def _document(kept: State, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    failed = kept.failed
    return {
        "schema": SCHEMA,
        "current": kept.current.number if kept.current else None,
        "releases": [item.shown() for item in kept.releases],
        "failed": None if failed is None else {**failed.release.shown(), "at": failed.at, "cause": failed.cause},
        "runs": list(runs),
    }


def _releases(kept: State) -> Iterator[str]:
    if not kept.releases:
        yield "no release was verified on this host yet"
    for item in kept.releases:
        mark = "*" if item is kept.current else " "
        one_way = "  irreversible" if item.irreversible else ""
        yield f"{mark} release {item.number:<4} {item.verified_at}  ref {item.ref}  tag {item.tag}{one_way}"
    if kept.failed is not None:
        failed = kept.failed
        yield f"  failed       {failed.at}  ref {failed.release.ref}  tag {failed.release.tag}  {failed.cause}"


def _runs(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not runs:
        yield "no run has ended on this host yet"
    for item in runs:
        release = item.get("release") or {}
        what = f"release {release['number']}" if release.get("number") else ""
        yield (
            f"  {item.get('started_at', '')[:19]:<19}  {item.get('outcome', ''):<11} exit {item.get('exit_code')!s:<3}"
            f" {duration(item.get('seconds') or 0.0):>8}  {item.get('command')}  by {item.get('user')}  {what}".rstrip()
        )
