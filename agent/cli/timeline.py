"""`delphi-agent timeline`: the running or the last run as a waterfall. Reads one file, needs no root."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from typing import Any

from agent.cli import output
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.errors import UnreachableError
from agent.host.paths import Paths
from agent.report import status, waterfall, waterfall_svg, waterfall_text
from agent.report.waterfall import Waterfall

# Where no terminal says how wide it is.
_WIDTH = 100


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Draw it; 0 whatever became of the run, 69 when there is none."""
    document = status.read(Paths.below(arguments.root).status)
    if document is None:
        if arguments.json:
            none = json.dumps({"schema": status.SCHEMA, "run": None}, indent=1)
            return put(surroundings.out, f"{none}\n") or UnreachableError.exit_code
        raise UnreachableError(
            "looking for the last run",
            "there is none since this host started: the times of a run are below /run, which a restart empties",
            "`delphi-agent init` makes one; what ended before is in `delphi-agent history`, a line for each run;"
            " `timeline --svg --output FILE` keeps a picture",
        )
    text = _drawn(document, arguments, surroundings)
    if arguments.output is None:
        return put(surroundings.out, text)
    output.write(arguments.output, text.encode(), 0o644)
    return 0


def _drawn(document: Mapping[str, Any], arguments: argparse.Namespace, surroundings: Surroundings) -> str:
    picture = waterfall.of(document)
    if arguments.json:
        return json.dumps(_shown(document, picture), indent=1) + "\n"
    if arguments.svg:
        return waterfall_svg.draw(picture)
    out = surroundings.out
    terminal = arguments.output is None and out.isatty()
    smart = terminal and surroundings.environ.get("TERM", "dumb") != "dumb"
    width = arguments.width or (shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH)
    lines = waterfall_text.draw(
        picture,
        width,
        utf8=terminal and "utf" in (out.encoding or "").lower(),
        colour=smart and not surroundings.environ.get("NO_COLOR"),
    )
    return "\n".join(lines) + "\n"


def _shown(document: Mapping[str, Any], picture: Waterfall) -> dict[str, Any]:
    """The times of the status, with what is made of them."""
    steps = [bar for bar in picture.bars if bar.kind == "step"]
    return {
        "schema": status.SCHEMA,
        "run": document["run"],
        "outcome": document["outcome"],
        "exit_code": document["exit_code"],
        "seconds": round(picture.seconds, 3),
        "path": [bar.name for bar in steps if bar.path],
        "shares": [{"step": bar.name, "share": round(bar.share, 4)} for bar in steps],
        "steps": document["steps"],
        "spans": document.get("spans", []),
        "spans_left_out": document.get("spans_left_out", 0),
    }
