"""The bootstrap file as `check` sees it: its findings with places, and which names it gives."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path

from agent.checks import other_readers, positions
from agent.compose_file import Finding, Place
from agent.compose_file.finding import error, warning
from agent.dataclass import dataclass
from agent.errors import BootstrapError
from agent.shell import file as shell_file
from agent.shell.file import ShellFile
from agent.steps import bootstrap

_FIRST_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FIX = "correct the file, and the cloud-init template that writes it"


@dataclass(frozen=True, kw_only=True)
class BootstrapFile:
    """`names` are all that it sets, be a line faulty; `values` what could be read of them.

    `complete` is false when there is no file, or an unclosed quote hides what else it sets.
    """

    names: frozenset[str]
    values: Mapping[str, str] = field(repr=False)
    findings: tuple[Finding, ...]
    complete: bool


def read(path: Path, name: str) -> BootstrapFile:
    """Read and check the file; `name` is what messages call it. Never raises."""
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # `load` says why
    parsed = shell_file.parse(data, name)
    lines = {assignment.name: assignment.line for assignment in parsed.assignments}
    return BootstrapFile(
        names=parsed.seen,
        values=parsed.values(),
        findings=(*_findings(path, name, lines), *_read_otherwise(data, name, parsed, lines)),
        complete=parsed.complete and bool(data),
    )


def _findings(path: Path, name: str, lines: Mapping[str, int]) -> Iterator[Finding]:
    code = BootstrapError.exit_code
    try:
        for note in bootstrap.load(path, name).warnings:
            place, text = positions.split(note, name)
            yield warning(place, "bootstrap-doubtful", text, _FIX, exit_code=code)
    except BootstrapError as failure:
        if not failure.details:
            yield error(Place(name), "bootstrap-invalid", failure.cause, failure.next_step, exit_code=code)
        for fault in failure.details:
            place, text = positions.split(fault, name)
            # Faults of a value have no position: they begin with the name, whose last line is meant.
            word = _FIRST_WORD.match(text)
            if place == Place(name) and word:
                place = Place(name, lines.get(word[0], 1))
            yield error(place, "bootstrap-invalid", text, _FIX, exit_code=code)


def _read_otherwise(data: bytes, name: str, parsed: ShellFile, lines: Mapping[str, int]) -> Iterator[Finding]:
    """Only for a file without faults: what bash would not read either needs no comparison."""
    for variable in () if parsed.faults else other_readers.read_otherwise(data, parsed.values()):
        yield warning(
            Place(name, lines[variable]),
            "read-otherwise",
            f"python-dotenv, and tools like it, read another value of {variable} than bash and the agent do",
            "write the value in single quotes",
            exit_code=BootstrapError.exit_code,
        )
