"""The figures in the README are those that are kept beside it, and were not touched by hand."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from tests.bench import chart, growth_report, report
from tests.bench.results import Result
from tests.packaging.checkout import CHECKOUT, README

FOLDER = CHECKOUT / "packaging" / "bench"


def test_its_tables_of_costs_are_made_from_the_kept_figures() -> None:
    assert report.with_part(README, report.part_of_readme()) == README


def test_its_charts_are_drawn_from_the_kept_figures() -> None:
    found = [Result.from_json(item) for item in json.loads((FOLDER / "results.json").read_text())["results"]]

    assert (FOLDER / "chart.svg").read_text() == chart.of_results(found)
    assert (FOLDER / "growth.svg").read_text() == growth_report.curves(growth_report.load(FOLDER / "growth.json"))
    for name in ("chart.svg", "growth.svg"):
        assert f"packaging/bench/{name}" in README
        ET.parse(FOLDER / name)
