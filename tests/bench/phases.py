"""Parts of a run alone, each against the best there is for that part: the sync, the values, the start of a process."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench import installed
from tests.bench.cases import AGENT, Case, Contender, deployed, nothing
from tests.bench.measure import Sample
from tests.bench.side import Side
from tests.lab.aws_model import BUCKET, REGION
from tests.lab.world import PREFIX, REF

_FROM = f"{BUCKET}/{PREFIX}/{REF}"
_TO = "/opt/services"
# One GET per object and one listing: no HEAD, no look at the bucket, times as the listing has them.
_TUNED = (
    "--transfers 32 --checkers 16 --fast-list --use-server-modtime --s3-no-check-bucket --s3-no-head"
    " --s3-no-head-object --config /dev/null"
).split()


def _rclone(side: Side) -> Sample:
    program = installed.rclone()
    assert program is not None
    remote = f":s3,provider=AWS,env_auth=true,region={REGION}:{_FROM}"
    return side.run([str(program), "copy", *_TUNED, remote, _TO], HOME="/root")


def _s5cmd(side: Side) -> Sample:
    program = installed.s5cmd()
    assert program is not None
    command = [str(program), "--log", "error", "--numworkers", "32", "sync", f"s3://{_FROM}/*", f"{_TO}/"]
    return side.run(command, HOME="/root", AWS_REGION=REGION)


def empty(side: Side) -> None:
    """Nothing of a bundle is on the host, nor what the agent remembers of one."""
    side.machine.run(["sh", "-c", f"rm -rf {_TO} /var/lib/delphi-agent && mkdir {_TO}"], check=True)


def _fetched(side: Side, contender: Contender) -> None:
    side.fresh(images="needless")
    empty(side)
    contender.run(side)


def _bootstrapped(side: Side, _: Contender) -> None:
    side.fresh(images="needless")


def _with_bundle(run: Callable[[Side], Sample]) -> Callable[[Side, Contender], None]:
    def once(side: Side, contender: Contender) -> None:
        side.fresh(images="needless")
        (run if contender.name == "agent" else _sync)(side)

    return once


def _sync(side: Side) -> Sample:
    return side.scripts("fetch-config")


def _values(side: Side) -> Sample:
    side.machine.path("/run/bench.sh").write_text(
        "PRIVATE_IP=10.77.0.10 fetch-env.sh --manifest /opt/services/api/vars.yaml"
        " --bootstrap /opt/deployment/.env --format export >/dev/null\n"
    )
    return side.scripts("sh", "/run/bench.sh")


FETCH = Contender("agent", "agent", lambda side: side.agent("fetch"))
COPIERS = (
    FETCH,
    Contender("aws s3 sync", "scripts", _sync),
    Contender("rclone", "scripts", _rclone),
    Contender("s5cmd", "scripts", _s5cmd),
)
PYTHON = Contender("python3", "agent", lambda side: side.run(["python3", "-I", "-S", "-c", "pass"]))

PHASES = (
    Case(
        "bundle-cold", "bundle alone, nothing there", _bootstrapped, empty, COPIERS, worlds=("small", "large", "bulk")
    ),
    Case("bundle-rerun", "bundle alone, nothing changed", _fetched, nothing, COPIERS),
    Case(
        "values",
        "values alone",
        _with_bundle(FETCH.run),
        nothing,
        (
            Contender("agent", "agent", lambda side: side.agent("env", "--format", "export")),
            Contender("scripts", "scripts", _values),
        ),
    ),
    Case(
        "help",
        "--help",
        lambda side, _: side.fresh(images="needless"),
        nothing,
        (Contender("agent", "agent", lambda side: side.agent("--help")), PYTHON),
        worlds=("small",),
        remote=False,
    ),
    Case(
        "status",
        "status, after an init",
        lambda side, _: deployed(side, AGENT),
        nothing,
        (Contender("agent", "agent", lambda side: side.agent("status")), PYTHON),
        worlds=("small",),
        remote=False,
    ),
)
