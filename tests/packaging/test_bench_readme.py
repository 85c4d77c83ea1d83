"""The figures in the README are those that are kept beside it, and were not touched by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tests.bench import report
from tests.packaging.checkout import CHECKOUT, README


def test_its_tables_of_costs_are_made_from_the_kept_figures() -> None:
    assert report.with_part(README, report.part_of_readme()) == README


def test_its_charts_are_drawn_from_the_kept_figures() -> None:
    for path, text in report.charts().items():
        assert path.read_text() == text
        assert f"({path.relative_to(CHECKOUT)})" in README
        ET.fromstring(text)
