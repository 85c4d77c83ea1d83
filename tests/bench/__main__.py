"""Measure `delphi-agent` against what it replaces, in the lab, and print what it came to.

    python -m tests.bench                              everything, at 0 ms
    python -m tests.bench --world small --rtt 0,30     one world, two round-trip times
    python -m tests.bench --only rerun --runs 9        one case, nine rounds
    python -m tests.bench --only rerun --rtt 30 --json kept.json --add      the same far away, beside what is kept

It needs root, as every lab; nothing of it reaches beyond the lab's own namespaces, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import tests.conftest  # noqa: F401 - its guard refuses every connection of this process that would leave the machine
from tests.bench import cases, chart, installed, report, speed, surroundings
from tests.bench.cases import Case, Sides
from tests.bench.phases import PHASES
from tests.bench.results import Result
from tests.bench.side import Side
from tests.bench.worlds import SPECS
from tests.lab.aws_model import Json
from tests.lab.process import LabError


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--world", choices=list(SPECS), help="one world (all)")
    parser.add_argument("--rtt", default="0", help="round-trip times to AWS in ms, with commas between (0)")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each case (5)")
    parser.add_argument("--only", default="", help="the case of this name, else those whose name begins so")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    parser.add_argument("--add", action="store_true", help="keep what the file of --json has of other cases")
    parser.add_argument("--svg", type=Path, help="draw the chart into this file")
    return parser.parse_args(argv)


def measure(
    worlds: Sequence[str],
    rtts: Sequence[float],
    chosen: Sequence[Case],
    runs: int,
    keep: Callable[[Sequence[Result]], object],
) -> list[Result]:
    """Every case that there is for these worlds, at every round-trip time; `keep` has all so far after each one."""
    found: list[Result] = []
    with ExitStack() as stack:
        machines = {name: stack.enter_context(Side()) for name in ("agent", "scripts")}
        sides = Sides(machines)
        for world in worlds:
            for case in [case for case in chosen if world in case.worlds]:
                for rtt in rtts if case.remote else [0.0]:
                    samples = cases.measure(case, sides, SPECS[world], rtt=rtt, runs=runs, tell=tell)
                    found.append(Result(world, case.name, case.title, rtt, samples))
                    keep(found)
    return found


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    # A lab ends with its `with`: also when somebody ends the suite.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    worlds = [options.world] if options.world else list(SPECS)
    rtts = [float(text) for text in options.rtt.split(",")]
    every = (*cases.INIT, *PHASES)
    named = [case for case in every if case.name == options.only]
    chosen = named or [case for case in every if case.name.startswith(options.only)]
    if not chosen:
        names = ", ".join(case.name for case in every)
        print(f"no case's name begins with {options.only}; there are {names}", file=sys.stderr)
        return 2
    if options.add and not (options.json and options.json.exists()):
        print("--add needs --json and the file of an earlier measurement", file=sys.stderr)
        return 2
    about: dict[str, Json] = {
        "machine": surroundings.machine(),
        "versions": installed.versions(),
        "runs": options.runs,
    }
    try:
        if options.add:
            report.expect_alike(options.json, about)
        about["stand-in"] = speed.measure()
        found = measure(worlds, rtts, chosen, options.runs, lambda so_far: keep(options, about, so_far))
    except (LabError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    print(report.whole(found, about, every=not options.only))
    kept = keep(options, about, found)
    report.save(options.svg, lambda: chart.of_results(kept))
    return 0


def keep(options: argparse.Namespace, about: Mapping[str, Json], found: Sequence[Result]) -> Sequence[Result]:
    """Write what has been measured so far, so that a suite that is stopped loses one case; what the file has now."""
    if options.add:
        about, found = report.beside(options.json, found)
    report.save(options.json, lambda: report.kept(about, "results", [result.as_json() for result in found]))
    return found


if __name__ == "__main__":
    sys.exit(main())
