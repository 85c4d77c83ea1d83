"""A resolved environment as text: for `eval`, as an env file, as JSON, or as a table without values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from agent.errors import UsageError
from agent.secret import Secret
from agent.variables.resolution import Resolution

SCHEMA = 1


def render(resolution: Resolution, form: str) -> bytes:
    """The text in one of the forms `export`, `file`, `json`, `table`. All but `table` hold the values."""
    environment = dict(sorted(resolution.environment.items()))
    if form == "export":
        return _lines(f"export {name}={quoted(value.reveal())}" for name, value in environment.items())
    if form == "file":
        return _lines(_file_lines(environment))
    if form == "json":
        values = {name: value.reveal() for name, value in environment.items()}
        return (json.dumps({"schema": SCHEMA, "variables": values}, indent=1) + "\n").encode()
    return _lines(_table(resolution))


def quoted(value: str) -> str:
    """The value as one word for every POSIX shell: within single quotes nothing but a single quote has a meaning."""
    return "'" + value.replace("'", "'\\''") + "'"


def _lines(lines: Iterable[str]) -> bytes:
    # Bytes that are no UTF-8 came in as surrogates (PEP 383) and go out as they came.
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _file_lines(environment: Mapping[str, Secret]) -> list[str]:
    """`NAME=value`, the value as it is (what `docker run --env-file` reads). A line break has no spelling there."""
    broken = [name for name, value in environment.items() if "\n" in value.reveal()]
    if broken:
        raise UsageError(
            "writing the environment as NAME=value lines",
            f"the value has a line break: {', '.join(broken)}",
            "use --format export or --format json, which can hold any value",
        )
    return [f"{name}={value.reveal()}" for name, value in environment.items()]


def _table(resolution: Resolution) -> list[str]:
    rows = [("NAME", "SOURCE", "FROM", "")]
    for name in sorted(resolution.environment):
        found = resolution.variables.get(name)
        source, origin = (found.source.value, found.origin) if found else ("bootstrap", "bootstrap file")
        notes = ["sensitive"] if found and found.sensitive else []
        notes += [resolution.reasons[name]] if name in resolution.reasons else []
        rows.append((name, source, origin, ", ".join(notes)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    cells = [[f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)] + [row[3]] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]
