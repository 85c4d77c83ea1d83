"""What the bench makes of its measurements: medians, ratios of pairs, exponents, tables, charts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.bench import __main__ as bench
from tests.bench import again, cases, chart, growth_report, report, results, table, targets
from tests.bench.growth_report import Series
from tests.bench.measure import Sample
from tests.bench.pairs import Spread, exponent, ratio
from tests.bench.results import Result

if TYPE_CHECKING:
    from tests.bench.side import Side
    from tests.lab.aws_model import Json


def sample(wall: float, aws: float = 1.0, calls: int = 3) -> Sample:
    parts = {"aws": aws}
    return Sample(wall, wall / 2, wall / 4, 50 << 10, 70 << 10, {"ssm:GetParameters": calls}, 2, 6, parts)


def result(ours: list[float], theirs: list[float], rtt: float = 0, case: str = "rerun") -> Result:
    samples = {"agent": [sample(wall) for wall in ours], "scripts": [sample(wall) for wall in theirs]}
    return Result("small", case, "rerun, <nothing> changed", rtt, samples)


def test_a_spread_is_the_median_between_the_quartiles() -> None:
    assert Spread.of([5, 1, 4, 2, 3]) == Spread(3, 2, 4)
    assert Spread.of([7]) == Spread(7, 7, 7)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine was three times as slow in the second round, for both: that is no difference between them.
    assert ratio([1, 3, 1], [10, 30, 10]) == Spread(0.1, 0.1, 0.1)
    with pytest.raises(ValueError, match="2 runs of one, 1 of the other"):
        ratio([1, 2], [1])


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_the_exponent_is_the_one_of_the_growth_above_what_there_is_anyway(power: float) -> None:
    sizes = [0, 10, 100, 1000]

    assert exponent(sizes, [0.5 + 0.01 * size**power for size in sizes]) == pytest.approx(power)


def test_what_does_not_grow_has_no_exponent() -> None:
    assert exponent([1, 10, 100], [0.5, 0.49, 0.51]) == 0
    assert exponent([1, 10, 100], [0.5, 0.502, 0.504]) == 0


def test_round_trips_are_what_a_longer_wire_costs() -> None:
    found = results.round_trips([result([0.4], [5.0], 0), result([0.7], [8.0], 30), result([1.2], [13.0], 80)])

    assert found == {
        ("small", "rerun", "agent"): pytest.approx(10),
        ("small", "rerun", "scripts"): pytest.approx(100),
    }


def test_one_wire_alone_says_nothing_of_round_trips() -> None:
    assert results.round_trips([result([0.4], [5.0])]) == {}
    assert table.of_round_trips([result([0.4], [5.0])]) == ""


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    assert table.table(["a", "b", "n"], [["one", "x", "1.0"], ["two", "yy", "22.0"]]).splitlines() == [
        "| a   | b  |    n |",
        "| --- | -- | ---: |",
        "| one | x  |  1.0 |",
        "| two | yy | 22.0 |",
    ]


def test_a_case_s_row_has_the_ratio_beside_the_other_one() -> None:
    ours, theirs = table.of_results([result([0.5, 0.6, 0.7], [5.0, 6.0, 7.0])], "small", 0).splitlines()[2:]

    assert [cell.strip() for cell in ours.split("|")[2:6]] == ["agent", "0.60 (0.55-0.65)", "", "0.30 (0.28-0.32)"]
    assert [cell.strip() for cell in theirs.split("|")[2:5]] == ["scripts", "6.00 (5.50-6.50)", "0.100"]


def test_a_target_is_held_missed_or_not_measured() -> None:
    def holds(*found: Result) -> str:
        return targets.TARGETS[0].row(found)[-1]

    assert holds(result([0.5], [5.0])) == "yes"
    assert holds(result([0.7], [5.0])) == "NO"
    assert holds(result([0.5], [5.0], case="first-boot")) == "not measured"


def test_the_best_of_several_peers_is_the_one_to_be_compared_with() -> None:
    peers = {"agent": [sample(1.2)], "rclone": [sample(1.0)], "s5cmd": [sample(2.0)]}
    found = [Result("large", "bundle-cold", "bundle", 0, peers)]

    assert targets.over("large", "bundle-cold", targets.PEERS)(found) == Spread(1.2, 1.2, 1.2)


def test_results_survive_the_file_that_they_are_kept_in() -> None:
    before = result([0.5, 0.25], [5.0, 6.5])
    text = report.kept({"runs": 2}, "results", [before.as_json(), before.as_json()])

    assert json.loads(text)["runs"] == 2
    assert [Result.from_json(item) for item in json.loads(text)["results"]] == [before, before]
    assert len(text.splitlines()) == 4


def test_charts_are_well_formed_and_complete_in_themselves() -> None:
    drawn = chart.of_results([result([0.5, 0.6], [5.0, 6.0])])
    sizes = (1, 10, 100)
    grown = [Series(name, "init", name, sizes, [[sample(size)] for size in sizes]) for name in ("files", "<bytes>")]

    for picture in (drawn, growth_report.curves(grown), chart.of_results([])):
        assert ET.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
        assert "prefers-color-scheme: dark" in picture
        assert "href" not in picture
    assert "rerun, &lt;nothing&gt; changed" in drawn
    assert drawn.count("<rect") == 2


def test_the_longest_bar_is_the_slowest() -> None:
    drawn = ET.fromstring(chart.of_results([result([1.0], [4.0])]))
    ours, theirs = [float(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]

    assert theirs == pytest.approx(4 * ours, rel=0.01)


def test_the_readme_s_part_is_replaced_and_all_else_stays() -> None:
    before = "above\n<!-- made by tests/bench/report.py -->\nold\nfigures\n<!-- end -->\nbelow\n"

    after = report.with_part(before, r"new \1 figures")

    assert after == "above\n<!-- made by tests/bench/report.py -->\n\nnew \\1 figures\n\n<!-- end -->\nbelow\n"
    with pytest.raises(ValueError, match="no place"):
        report.with_part("above\nbelow\n", "new")


def test_growth_survives_the_file_that_it_is_kept_in(tmp_path: Path) -> None:
    before = Series("files", "fetch", "files", [1, 10], [[sample(0.5)], [sample(0.75)]])
    kept = tmp_path / "growth.json"
    kept.write_text(json.dumps({"series": [growth_report.as_json(before)]}))

    assert growth_report.load(kept) == [before]


def test_what_is_measured_later_takes_the_place_of_the_same_cell_and_leaves_the_others(tmp_path: Path) -> None:
    about = {"machine": "m", "versions": {"jq": "1.6"}, "runs": 2, "stand-in": "fast"}
    path = tmp_path / "kept.json"
    earlier = [result([1, 1], [9, 9]), result([2, 2], [9, 9], 30)]
    path.write_text(report.kept(about, "results", [item.as_json() for item in earlier]))

    told, found = report.beside(path, [result([3, 3], [9, 9], 30), result([4, 4], [9, 9], 100)])

    assert told == about
    assert [(item.rtt, item.spread("agent", results.wall).median) for item in found] == [(0, 1), (30, 3), (100, 4)]


def test_what_is_measured_so_far_is_written_after_each_case_beside_what_the_file_had(tmp_path: Path) -> None:
    about: dict[str, Json] = {"machine": "m", "versions": {"jq": "1.6"}, "runs": 2, "stand-in": "fast"}
    path = tmp_path / "kept.json"
    options = bench.arguments(["--json", str(path)])

    bench.keep(options, about, so_far := [result([1, 1], [9, 9])])
    assert again.load(path) == so_far
    further = bench.arguments(["--json", str(path), "--add"])
    bench.keep(further, about, [result([2, 2], [9, 9], 30)])
    bench.keep(further, about, [result([2, 2], [9, 9], 30), result([3, 3], [9, 9], 100)])

    assert [(item.rtt, item.spread("agent", results.wall).median) for item in again.load(path)] == [
        (0, 1),
        (30, 2),
        (100, 3),
    ]
    assert list(tmp_path.iterdir()) == [path]


def test_figures_of_another_machine_are_not_put_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(report.kept({"machine": "m", "runs": 2, "stand-in": "fast"}, "results", []))

    report.expect_alike(path, {"machine": "m", "runs": 2})
    with pytest.raises(ValueError, match="another machine"):
        report.expect_alike(path, {"machine": "other", "runs": 2})


def test_two_measurements_are_held_against_each_other_the_farthest_first() -> None:
    first = [result([1, 1], [10, 10]), result([1, 1], [4, 4], 30), result([1, 1], [4, 4], 100)]
    second = [result([1.1, 1.1], [10, 10]), result([2, 2], [4, 4], 30)]

    shown = again.compared(first, second)

    assert [row.split("|")[5].strip() for row in shown.splitlines()[2:4]] == ["100 %", "10 %"]
    assert shown.endswith("1 of 2 ratios are within 15 % of each other.")


@pytest.mark.parametrize(("walls", "taken"), [([0.3, 0.1, 0.2], 0.2), ([1.5, 0.1, 0.1], 1.5)])
def test_of_what_is_done_within_a_second_the_middle_one_of_three_runs_is_taken(
    walls: list[float], taken: float
) -> None:
    runs = iter(walls)
    prepared: list[object] = []
    contender = cases.Contender("agent", "agent", lambda _: sample(next(runs)))
    case = cases.Case("x", "x", lambda _side, _contender: None, prepared.append, [contender])
    side = cast("Side", object())

    assert cases.sample(case, side, contender).wall == taken
    assert len(prepared) == len(walls) - len(list(runs))
