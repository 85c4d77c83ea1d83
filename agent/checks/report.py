"""All findings of a check, what they come to, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from agent.compose_file import Finding
from agent.dataclass import dataclass
from agent.errors import PRECEDENCE
from agent.report.words import amount

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """Findings, each once, in the order of files and lines."""

    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Report:
        """Sort and keep each once."""
        return cls(tuple(sorted(set(findings))))

    @property
    def errors(self) -> int:
        """How many a run would fail on."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many are warnings."""
        return len(self.findings) - self.errors

    def exit_code(self, *, strict: bool) -> int:
        """0 without errors; else the first of `PRECEDENCE` among their kinds; `strict` takes warnings for errors."""
        codes = {finding.exit_code for finding in self.findings if finding.severity == "error"}
        if strict and not codes:
            codes = {finding.exit_code for finding in self.findings}
        return min(codes, key=PRECEDENCE.index, default=0)

    def text(self) -> str:
        """For people: a line for each finding, one for what to do, and a last one with the sum."""
        return "".join(f"{line}\n" for line in self._lines())

    def json(self) -> str:
        """For programs: one object, `schema` 1."""
        findings = [
            {
                "severity": finding.severity,
                "code": finding.code,
                "file": finding.place.file,
                "line": finding.place.line,
                "column": finding.place.column,
                "text": finding.text,
                "next_step": finding.next_step,
            }
            for finding in self.findings
        ]
        document = {"schema": SCHEMA, "findings": findings, "errors": self.errors, "warnings": self.warnings}
        return json.dumps(document, indent=1) + "\n"

    def github(self) -> str:
        """For a workflow of GitHub Actions: a command for each finding, which it shows at the line."""
        return "".join(
            f"::{finding.severity} file={_property(finding.place.file)},line={finding.place.line},"
            f"col={finding.place.column},title={_property(finding.code)}"
            f"::{_data(finding.text)}%0Anext: {_data(finding.next_step)}\n"
            for finding in self.findings
        )

    def _lines(self) -> Iterator[str]:
        for finding in self.findings:
            yield printable(f"{finding.place}: {finding.severity}: {finding.text} [{finding.code}]")
            yield printable(f"  next: {finding.next_step}")
        yield f"{amount(self.errors, 'error')}, {amount(self.warnings, 'warning')}"


def printable(text: str) -> str:
    """`text` without what could steer a terminal: names in a bundle are somebody else's text."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _data(text: str) -> str:
    # https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
