"""The figures in the README are those that are kept beside it, and were not touched by hand."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET

from tests.bench import __main__ as bench
from tests.bench import growth, report
from tests.packaging.checkout import CHECKOUT, README


def test_its_tables_of_costs_are_made_from_the_kept_figures() -> None:
    assert report.with_part(README, report.part_of_readme()) == README


def test_its_charts_are_drawn_from_the_kept_figures() -> None:
    for path, text in report.charts().items():
        assert path.read_text() == text
        assert f"({path.relative_to(CHECKOUT)})" in README
        ET.fromstring(text)


def test_its_commands_that_measure_write_what_its_tables_are_made_from() -> None:
    """They are too long to be run here; `tests/lab_tests/test_bench.py` runs the smallest case."""
    lines = re.findall(r"^\.venv/bin/python -m tests\.bench(|\.growth) (--.*)$", README, re.MULTILINE)
    parsed = [(growth if module else bench).arguments(shlex.split(words)) for module, words in lines]

    first, far, grown = parsed
    assert (CHECKOUT / first.json, CHECKOUT / far.json, CHECKOUT / grown.json) == (
        report.KEPT,
        report.KEPT,
        report.GROWN,
    )
    assert (first.add, far.add) == (False, True)
