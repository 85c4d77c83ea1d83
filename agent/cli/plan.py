"""`delphi-agent plan`: what `init` would change; nothing is changed and no value is shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from agent.cli.context import conclude
from agent.cli.terminal import Surroundings
from agent.dry_run import Preview, preview
from agent.report.record import Ending
from agent.report.words import amount
from agent.run import Options, Run

WOULD_CHANGE = 3


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print the plan; with `--exit-code`, 3 when anything would change."""

    def work(made: Run) -> Ending:
        seen = preview(made)
        document = _document(seen)
        text = json.dumps(document, indent=1) if arguments.json else "\n".join(_lines(document))
        print(text, file=surroundings.out, flush=True)
        code = WOULD_CHANGE if arguments.exit_code and document["changes"] else 0
        return Ending(outcome="done", exit_code=code, text="planned")

    return conclude(arguments, surroundings, work, Options(slug=arguments.slug))


def _document(seen: Preview) -> dict[str, Any]:
    staged, resolution, difference = seen.staged, seen.resolution, seen.difference
    release = {name: {"now": now, "then": then} for name, (now, then) in seen.release.items() if now != then}
    return {
        "schema": 1,
        "changes": staged.differs or not difference.known or difference.any or bool(release),
        "release": release,
        "bundle": {"added": staged.added, "changed": staged.changed, "removed": staged.removed},
        "variables": [
            {
                "name": name,
                "source": found.source.value,
                "from": found.origin,
                "sensitive": found.sensitive,
                "change": difference.of(name),
            }
            for name, found in resolution.variables.items()
        ],
        "variables_removed": difference.removed,
    }


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "something would change" if document["changes"] else "nothing would change"
    for name, both in document["release"].items():
        yield f"  {name}: {both['now'] or 'none'} -> {both['then']}"
    for word, paths in document["bundle"].items():
        yield from (f"  {word:<8} {path}" for path in paths)
    changed = [item for item in document["variables"] if item["change"] in {"new", "changed"}]
    for item in changed:
        yield f"  {item['change']:<8} {item['name']}  ({item['from']})"
    yield from (f"  removed  {name}" for name in document["variables_removed"])
    same = sum(item["change"] == "same" for item in document["variables"])
    unknown = sum(item["change"] == "unknown" for item in document["variables"])
    yield f"  {amount(same, 'variable')} unchanged" + (f", {unknown} that cannot be compared" if unknown else "")
