"""The lines of an examination as text and as JSON, and the exit code that they come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from agent.checks.report import printable
from agent.doctor.line import Line
from agent.errors import PRECEDENCE
from agent.report.words import amount

SCHEMA = 1
_WORDS = {"ok": "ok", "warn": "warn", "fail": "FAIL", "skip": "skip"}
_MOST_DETAILS = 12


def exit_code(lines: Sequence[Line]) -> int:
    """0 without faults; else the first of `PRECEDENCE` among theirs."""
    codes = {line.exit_code for line in lines if line.state == "fail"}
    return min(
        codes,
        key=lambda code: (code not in PRECEDENCE, PRECEDENCE.index(code) if code in PRECEDENCE else code),
        default=0,
    )


def text(lines: Sequence[Line], clean: Callable[[str], str]) -> str:
    """For people: a line for each finding, below it what to do; the last line is the sum. `clean` redacts."""
    return "".join(f"{printable(clean(line))}\n" for line in _rows(lines))


def _rows(lines: Sequence[Line]) -> Iterator[str]:
    width = max((len(line.check) for line in lines), default=0)
    for line in lines:
        yield f"{_WORDS[line.state]:<4}  {line.check:<{width}}  {line.why}"
        indent = " " * (width + 8)
        shown = line.details[:_MOST_DETAILS]
        yield from (f"{indent}{detail}" for detail in shown)
        if len(shown) < len(line.details):
            yield f"{indent}and {len(line.details) - len(shown)} more"
        if line.fix:
            yield f"{indent}fix: {line.fix}"
    counts = {state: sum(line.state == state for line in lines) for state in _WORDS}
    faults = [line.check for line in lines if line.state == "fail"]
    begin = f" (begin with: {faults[0]})" if len(faults) > 1 else ""
    yield (
        f"{amount(counts['fail'], 'fault')}{begin}, {amount(counts['warn'], 'warning')}, {counts['ok']} ok,"
        f" {counts['skip']} not looked at"
    )


def document(lines: Sequence[Line], clean: Callable[[str], str]) -> str:
    """For programs: one object, `schema` 1."""
    findings = [
        {
            "check": line.check,
            "state": line.state,
            "why": clean(line.why),
            "fix": clean(line.fix),
            "exit_code": line.exit_code,
            "details": [clean(detail) for detail in line.details],
        }
        for line in lines
    ]
    return json.dumps({"schema": SCHEMA, "exit_code": exit_code(lines), "findings": findings}, indent=1) + "\n"
