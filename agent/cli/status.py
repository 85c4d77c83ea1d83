"""`delphi-agent status`: what the running or the last run is doing or did. Reads one file, needs no root."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping

from agent.cli.streams import put
from agent.errors import UnreachableError
from agent.host import plain
from agent.report import status
from agent.report.words import amount, duration

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import Any

    from agent.cli.terminal import Surroundings

_POLL_SECONDS = 0.3


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print the status; the exit code is that of the run it shows, 69 while there is no verdict."""
    path = plain.below(arguments.root, plain.STATUS)
    document = status.read(path)
    while arguments.wait and (document is None or document["outcome"] == "running"):
        time.sleep(_POLL_SECONDS)
        document = status.read(path)
    text = ""
    if arguments.json:
        text = json.dumps(document if document is not None else {"schema": status.SCHEMA, "run": None}, indent=1)
    elif document is not None:
        text = "\n".join(_lines(document))
    else:
        print("no run since this host started: `delphi-agent init` makes one", file=surroundings.err)
    code = document["exit_code"] if document is not None else None
    own = UnreachableError.exit_code if code is None else int(code)
    return (put(surroundings.out, f"{text}\n") if text else 0) or own


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    made = document["run"]
    yield f"{document['outcome']}: {document['text'] or 'in step ' + str(document['stage'])}"
    took = f", took {duration(made['seconds'])}" if made["seconds"] is not None else ""
    yield f"  run {made['id']}: `{made['command']}` by {made['user']} at {made['started_at']}{took}"
    for step in document["steps"]:
        took = duration(step["seconds"]) if step["seconds"] is not None else "running"
        waits = f"waiting for {step['waiting_for']}" if step["waiting_for"] else ""
        text = ", ".join(part for part in (step["detail"] or step["doing"], waits) if part)
        yield f"  {step['state']:<11} {step['name']:<13} {took:>8}  {text}"
    for service in document["services"]:
        yield f"  service     {service['name']:<13} {service['state']:>8}  {service['note']}".rstrip()
    for warning in document["warnings"]:
        yield f"  warning     {warning}"
    for error in document["errors"]:
        yield f"  error       [{error['code']}] {error['doing']}: {error['cause']}"
        yield from (f"                {line}" for line in error["details"])
        yield f"    next: {error['next_step']}"
    totals = document["totals"]
    yield (
        f"  in all: {amount(totals['calls'], 'AWS call')}, {amount(totals['retries'], 'retry', 'retries')},"
        f" {amount(totals['children'], 'child process', 'child processes')}"
    )
