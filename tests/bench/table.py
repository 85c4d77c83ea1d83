"""Tables of plain text that are Markdown too: what the terminal shows can go into the README as it is."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import results
from tests.bench.pairs import Spread
from tests.bench.results import Result


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them; all but the first two are figures, and stand to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(widths[at]) if at < 2 else cell.rjust(widths[at]) for at, cell in enumerate(row)]
        return f"| {' | '.join(cells)} |"

    rule = [("-" * width if at < 2 else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def spread(value: Spread, digits: int = 2) -> str:
    """`1.23 (1.20-1.31)`; without the quartiles where they would say the same."""
    median, low, high = (f"{number:.{digits}f}" for number in (value.median, value.low, value.high))
    return median if low == high else f"{median} ({low}-{high})"


def share(value: Spread) -> str:
    """A ratio, with as many digits as one that is small needs."""
    return spread(value, 3 if value.median < 1 else 2)


HEAD = "case|who|wall s|ratio|CPU s|own CPU s|peak MiB|calls|connections|IMDS|AWS part s".split("|")


def of_results(measured: Sequence[Result], world: str, rtt: float) -> str:
    """Every case of one world at one round-trip time."""
    rows = []
    for result in measured:
        if (result.world, result.rtt) != (world, rtt):
            continue
        for name, samples in result.samples.items():
            over = "" if name == "agent" else share(result.ratio("agent", name, results.wall))
            aws = spread(result.spread(name, results.aws_part)) if "aws" in samples[0].parts else ""
            rows.append(
                [
                    result.title if name == next(iter(result.samples)) else "",
                    name,
                    spread(result.spread(name, results.wall)),
                    over,
                    spread(result.spread(name, results.cpu)),
                    spread(result.spread(name, results.own_cpu)) if name == "agent" else "",
                    f"{result.spread(name, results.peak if name == 'agent' else results.biggest).median:.0f}",
                    f"{result.spread(name, results.calls).median:.0f}",
                    f"{result.spread(name, results.connections).median:.0f}",
                    f"{result.spread(name, lambda sample: sample.imds).median:.0f}",
                    aws,
                ]
            )
    return table(HEAD, rows)


def of_round_trips(measured: Sequence[Result]) -> str:
    """How many round trips to AWS each waits for in a row; empty when only one round-trip time was measured."""
    found = results.round_trips(measured)
    titles = {(result.world, result.case): result.title for result in measured}
    rows = [[f"{world}: {titles[world, case]}", name, f"{times:.1f}"] for (world, case, name), times in found.items()]
    return table(["case", "who", "round trips in a row"], rows) if rows else ""


def brief(measured: Sequence[Result]) -> str:
    """Who takes how long, and what the agent is of it: for readers who do not want it all."""
    rows = []
    for result in measured:
        for name in result.samples:
            if name == "agent":
                continue
            walls = [result.spread(who, results.wall) for who in ("agent", name)]
            where = f"{result.title} ({result.world}, {result.rtt:g} ms)"
            share_ = share(result.ratio("agent", name, results.wall))
            rows.append([where, name, *map(spread, walls), share_])
    return table(["case", "compared with", "agent s", "other s", "ratio"], rows)
