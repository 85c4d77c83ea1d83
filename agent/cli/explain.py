"""`delphi-agent explain NAME`: where a value comes from, what it beat, why it is required; never the value."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterator
from typing import Any

from agent import inquiry
from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.errors import UnresolvedError, UsageError
from agent.inquiry import Inquiry
from agent.report.record import Ending
from agent.run import Options, Run
from agent.stages import values


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Explain one variable; exit code 66 when it must have a value and has none."""

    def work(made: Run) -> Ending:
        asked = inquiry.ask(made, arguments.bootstrap, arguments.manifest)
        document = _document(made, asked, arguments.name)
        text = json.dumps(document, indent=1) if arguments.json else "\n".join(_lines(document))
        missing = bool(document["required"]) and document["source"] is None
        code = put(surroundings.out, f"{text}\n") or (UnresolvedError.exit_code if missing else 0)
        return Ending(outcome="done", exit_code=code, text="explained")

    return conclude(arguments, surroundings, work, Options())


def _document(made: Run, asked: Inquiry, name: str) -> dict[str, Any]:
    declared = asked.manifest.by_name()
    if name not in declared and name not in asked.bootstrap.variables:
        near = difflib.get_close_matches(name, [*declared, *asked.bootstrap.variables], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"explaining {name}",
            f"neither {asked.manifest.name} nor the bootstrap file has it{hint}",
            "`delphi-agent env --format table` lists every variable",
        )
    found, resolution = asked.resolution.variables.get(name), asked.resolution
    difference = values.recorded_difference(made, resolution)
    plain = name in asked.bootstrap.variables and name not in declared
    return {
        "schema": 1,
        "name": name,
        "source": found.source.value if found else "bootstrap" if plain else None,
        "from": found.origin if found else "bootstrap file" if plain else None,
        "sensitive": bool(found and found.sensitive),
        "beat": list(found.beaten) if found else [],
        "required": resolution.reasons.get(name),
        "looked": [look.text for look in reversed(resolution.looked.get(name, ()))],
        "since_release": difference.of(name) if found or plain else None,
    }


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield document["name"]
    yield f"  value from  {document['from'] or 'nowhere: it has no value'}"
    yield from (f"  it beat     {place}" for place in document["beat"])
    yield f"  required    {document['required'] or 'no'}"
    yield from (f"  looked at   {place}" for place in document["looked"])
    if document["sensitive"]:
        yield "  sensitive   taken out of everything that the agent shows"
    if document["since_release"]:
        yield f"  since the current release  {document['since_release']}"
