"""`delphi-agent plan`: what `init` would change; nothing is changed and no value is shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.dry_run import Preview, preview
from agent.report.record import Ending
from agent.report.words import amount
from agent.run import Options, Run
from agent.target import Aim, as_it_says

WOULD_CHANGE = 3


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print the plan; with `--exit-code`, 3 when anything would change."""
    return show(arguments, surroundings, as_it_says)


def show(arguments: argparse.Namespace, surroundings: Surroundings, aim: Aim) -> int:
    """Print the plan of a command (`--dry-run`) that deploys what `aim` says; flags that it lacks are off."""

    def flag(name: str) -> bool:
        return bool(getattr(arguments, name, False))

    def work(made: Run) -> Ending:
        seen = preview(made, aim)
        document = _document(seen)
        text = json.dumps(document, indent=1) if flag("json") else "\n".join(_lines(document))
        would = WOULD_CHANGE if flag("exit_code") and document["changes"] else 0
        code = put(surroundings.out, f"{text}\n") or would
        return Ending(outcome="done", exit_code=code, text="planned")

    # It tells no more of itself than a command that only asks.
    arguments.command = "plan"
    options = Options(
        skip_fetch=flag("skip_fetch"),
        skip_images=flag("skip_images"),
        restart_only=flag("restart_only"),
        force_recreate=flag("force_recreate"),
        slug=getattr(arguments, "slug", None),
    )
    return conclude(arguments, surroundings, work, options)


def _document(seen: Preview) -> dict[str, Any]:
    staged, resolution, difference, services = seen.staged, seen.resolution, seen.difference, seen.services
    release = {name: {"now": now, "then": then} for name, (now, then) in seen.release.items() if now != then}
    return {
        "schema": 1,
        "changes": seen.changes,
        "release": release,
        "bundle": {
            "added": staged.added if staged else (),
            "changed": staged.changed if staged else (),
            "removed": staged.removed if staged else (),
        },
        "services": [{"name": fate.service, "action": fate.action, "reasons": fate.reasons} for fate in services.fates],
        "services_unknown": services.unknown or None,
        "images": [
            {"service": item.service, "now": item.now, "then": item.then, "on_host": item.at_hand}
            for item in services.images
        ],
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
    yield from _service_lines(document)
    for word, paths in document["bundle"].items():
        yield from (f"  {word:<8} {path}" for path in paths)
    changed = [item for item in document["variables"] if item["change"] in {"new", "changed"}]
    for item in changed:
        yield f"  {item['change']:<8} {item['name']}  ({item['from']})"
    yield from (f"  removed  {name}" for name in document["variables_removed"])
    same = sum(item["change"] == "same" for item in document["variables"])
    unknown = sum(item["change"] == "unknown" for item in document["variables"])
    yield f"  {amount(same, 'variable')} unchanged" + (f", {unknown} that cannot be compared" if unknown else "")


def _service_lines(document: Mapping[str, Any]) -> Iterator[str]:
    if document["services_unknown"]:
        yield f"  what would happen to the services is not known: {document['services_unknown']}"
        return
    for item in document["services"]:
        if item["action"] != "unchanged":
            yield f"  {item['action']:<8} {item['name']}  ({'; '.join(item['reasons'])})"
    for item in document["images"]:
        if not item["on_host"]:
            yield f"  pull     {item['then']}  (for {item['service']}: not on the host)"
    same = sum(item["action"] == "unchanged" for item in document["services"])
    yield f"  {amount(same, 'service')} unchanged"
