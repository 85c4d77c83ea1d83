"""The tables of a run, put together: for the terminal, and for the README from what is kept in packaging/bench.

python -m tests.bench.report        writes the README's part and draws the charts anew, from what is kept
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.bench import bound, chart, growth_report, table, targets
from tests.bench.results import Result
from tests.bench.worlds import SPECS
from tests.lab.aws_model import Json
from tests.lab.host import CHECKOUT

KEPT = CHECKOUT / "packaging" / "bench" / "results.json"
GROWN = CHECKOUT / "packaging" / "bench" / "growth.json"
README = CHECKOUT / "README.md"
_PART = re.compile(r"(<!-- made by tests/bench/report.py -->\n).*(\n<!-- end -->)", re.DOTALL)


def whole(found: Sequence[Result], about: Mapping[str, object], *, every: bool) -> str:
    """All tables, and what was measured with what; without `every`, no targets that were not looked at."""
    parts = [_about(about, found)]
    for world, rtt in dict.fromkeys((result.world, result.rtt) for result in found):
        parts += [f"## {world}, {rtt:g} ms", table.of_results(found, world, rtt)]
    if trips := table.of_round_trips(found):
        chains = "\n".join(f"- {line}" for line in bound.lines(SPECS["small"]))
        parts += ["## Round trips", trips, f"The chains of a rerun in the small world, side by side:\n\n{chains}"]
    return "\n\n".join([*parts, "## Targets", targets.of_targets(found, every=every)])


def part_of_readme(kept: Path = KEPT, grown: Path = GROWN) -> str:
    """What the README shows of the figures that are kept."""
    document = json.loads(kept.read_text())
    found = [Result.from_json(item) for item in document.pop("results")]
    parts = [_about(document, found), table.brief(found), targets.of_targets(found)]
    if grown.exists():
        parts.append(growth_report.of_series(growth_report.load(grown)))
    return "\n\n".join(parts)


def with_part(readme: str, part: str) -> str:
    """The README with this in the place that is kept for it."""
    text, times = _PART.subn(lambda found: f"{found[1]}\n{part}\n{found[2]}", readme)
    if times != 1:
        raise ValueError("the README has no place for the figures")
    return text


def kept(about: Mapping[str, Json], name: str, items: Sequence[Json]) -> str:
    """The JSON document that is kept: a line for each item, so that a change of one is one."""
    lines = ",\n".join(json.dumps(item) for item in items)
    return f"{json.dumps(dict(about))[:-1]}, {json.dumps(name)}: [\n{lines}\n]}}\n"


def expect_alike(path: Path, about: Mapping[str, Json]) -> None:
    """`ValueError` when the file has figures of other programs, another machine or other rounds: they make no table."""
    earlier = json.loads(path.read_text())
    other = [name for name in about if earlier[name] != about[name]]
    if other:
        raise ValueError(f"{path} was measured with another {', '.join(other)}")


def beside(path: Path, found: Sequence[Result]) -> tuple[dict[str, Json], list[Result]]:
    """What the file has, with `found` in the place of the same cells, else after the others."""
    about = json.loads(path.read_text())
    earlier = [Result.from_json(item) for item in about.pop("results")]
    new = {result.cell for result in found}
    return about, [*(result for result in earlier if result.cell not in new), *found]


def save(path: Path | None, made: Callable[[], str]) -> None:
    """Write what is made to the file, when one is asked for: whole, or it stays what it was."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(made())
        new.replace(path)


def _about(about: Mapping[str, Json], found: Sequence[Result]) -> str:
    versions = ", ".join(f"{name} {_number(text)}" for name, text in about["versions"].items())
    stand_in = f"The suite's AWS, measured on its own before the rest: {about['stand-in']}."
    fewest, *more = sorted({len(samples) for result in found for samples in result.samples.values()})
    rounds = f"{fewest} rounds each{f', up to {more[-1]} of what is soon done' if more else ''}"
    return f"{about['machine']}; {versions}; {rounds}.\n{stand_in}"


def _number(text: str) -> str:
    """The version in what a program says of itself."""
    found = re.search(r"\d+\.[\d.]*\d", text)
    return found[0] if found else text


def charts() -> dict[Path, str]:
    """The pictures that the README shows, by where they are."""
    found = [Result.from_json(item) for item in json.loads(KEPT.read_text())["results"]]
    grown = growth_report.curves(growth_report.load(GROWN))
    return {KEPT.with_name("chart.svg"): chart.of_results(found), GROWN.with_name("growth.svg"): grown}


def main() -> None:
    for path, text in charts().items():
        path.write_text(text)
    README.write_text(with_part(README.read_text(), part_of_readme()))


if __name__ == "__main__":
    main()
