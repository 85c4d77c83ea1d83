"""Fleets that boot at once, simulated; or real agents beside their simulation.

python -m tests.bench.fleet [--instances N ...] [--quotas default|higher] [--rate ssm.path=200 ...] [--json FILE]
python -m tests.bench.fleet --real 20
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from tests.bench.fleet import real, table
from tests.bench.fleet.behaviours import BEHAVIOURS
from tests.bench.fleet.fleet import CALL_SECONDS, HORIZON_SECONDS, Account
from tests.bench.fleet.quotas import BURST_SECONDS, SETS, at_rate

# Of larger fleets only the agent is simulated where nothing is named: the others start over again and again.
_ALL_UP_TO, _OWN = 2_000, range(2)


def main() -> None:
    """Simulate what the command line asks for, and print it."""
    arguments = _arguments()
    if arguments.real:
        compared = real.compare(arguments.real, seed=arguments.seed)
        print(real.text(compared))
        _keep(arguments.json, dataclasses.asdict(compared))
        return
    quotas = SETS[arguments.quotas]
    for changed in arguments.rate:
        name, _, rate = changed.partition("=")
        quotas = at_rate(quotas, name, float(rate))
    account = Account(
        quotas=quotas, pages=arguments.pages, call_seconds=arguments.call_seconds, burst_seconds=arguments.burst
    )
    print(table.quotas_text(quotas), end="\n\n")
    print(table.head())
    rows = []
    for instances in arguments.instances:
        usual = range(len(BEHAVIOURS)) if instances <= _ALL_UP_TO else _OWN
        for number in arguments.behaviours or usual:
            rows.append(
                table.row(
                    BEHAVIOURS[number],
                    account,
                    instances,
                    within=arguments.within,
                    seed=arguments.seed,
                    horizon=arguments.horizon,
                )
            )
            print(table.line(rows[-1]), flush=True)
    _keep(
        arguments.json, {"quotas": [dataclasses.asdict(quota) for quota in quotas], "rows": [vars(row) for row in rows]}
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--instances", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--quotas", choices=sorted(SETS), default="default")
    parser.add_argument("--rate", action="append", default=[], metavar="CALL=RATE", help="another quota for a call")
    parser.add_argument(
        "--pages", type=int, default=4, help="of parameters, ten on each; one is asked for also where there are none"
    )
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which the instances boot")
    parser.add_argument("--behaviours", type=int, nargs="+", help=", ".join(_numbered()))
    parser.add_argument("--call-seconds", type=float, default=CALL_SECONDS)
    parser.add_argument(
        "--burst", type=float, default=BURST_SECONDS, help="seconds of a quota that are let through at once"
    )
    parser.add_argument("--horizon", type=float, default=HORIZON_SECONDS, help="simulated seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--real", type=int, metavar="N", help="so many real agents, and their simulation")
    return parser.parse_args()


def _numbered() -> list[str]:
    return [f"{number}: {behaviour.name}" for number, behaviour in enumerate(BEHAVIOURS)]


def _keep(path: Path | None, document: object) -> None:
    if path is not None:
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
