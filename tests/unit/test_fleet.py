"""The simulated fleet: its parts, that it asks as the agent does, and what the agent's rules promise a fleet."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.aws.credentials import Credentials, Keys
from agent.aws.parameters import Parameters
from agent.aws.secrets import Secrets
from agent.aws.session import AwsSession
from agent.host.clock import Deadline
from agent.host.proxy import Proxies
from agent.secret import Secret
from tests.bench.fleet import plans, table
from tests.bench.fleet.behaviours import AGENT, BEHAVIOURS
from tests.bench.fleet.bucket import Bucket
from tests.bench.fleet.callers import Botocore
from tests.bench.fleet.door import PATH, PREFIX, Door
from tests.bench.fleet.events import Loop, Process
from tests.bench.fleet.fleet import Account, Fleet, undisturbed
from tests.bench.fleet.outcome import percentile
from tests.bench.fleet.quotas import DEFAULT, HIGHER, Quota, at_rate, bound
from tests.lab.loopback import Loopback

SCRIPTS = next(one for one in BEHAVIOURS if one.name.startswith("scripts, restarted after 1 s"))


def let_through(bucket: Bucket, times: Sequence[float]) -> list[bool]:
    return [bucket.take(time) for time in times]


def test_a_bucket_gives_what_it_saved_up_and_then_its_rate() -> None:
    bucket = Bucket(rate=2, capacity=3)

    assert let_through(bucket, [0, 0, 0, 0]) == [True, True, True, False]
    assert let_through(bucket, [0.4, 0.5, 0.6, 1.0]) == [False, True, False, True]


def test_a_bucket_that_rests_holds_no_more_than_its_capacity() -> None:
    bucket = Bucket(rate=2, capacity=3)
    let_through(bucket, [0, 0, 0])

    assert let_through(bucket, [100, 100, 100, 100]) == [True, True, True, False]


def test_processes_go_on_in_the_order_of_their_times() -> None:
    seen: list[tuple[str, float]] = []
    loop = Loop()

    def process(name: str, pause: float) -> Process:
        for _ in range(2):
            seen.append((name, loop.monotonic()))
            yield pause
        return True

    loop.start(process("slow", 3), 0)
    loop.start(process("fast", 1), 1)
    loop.run(100)

    assert seen == [("slow", 0), ("fast", 1), ("fast", 2), ("slow", 3)]


@pytest.mark.parametrize(("well", "woken"), [(True, 5.0), (False, 2.0)])
def test_a_process_waits_for_all_others_or_for_the_first_that_does_not_end_well(*, well: bool, woken: float) -> None:
    times: list[float] = []
    loop = Loop()

    def other(pause: float, *, ends: bool) -> Process:
        yield pause
        return ends

    def waiting() -> Process:
        yield [other(2, ends=well), other(5, ends=True)]
        times.append(loop.monotonic())
        return True

    loop.start(waiting(), 0)
    loop.run(100)

    assert times == [woken]


def test_the_bound_is_the_slowest_quota_with_what_shares_it_together() -> None:
    quotas = [Quota("both", ("a", "b"), 10, ""), Quota("c", ("c",), 40, "")]

    assert bound({"a": 1, "b": 2, "c": 4}, 100, quotas) == (30, "both")
    assert bound({"a": 1, "b": 2, "c": 4}, 100, at_rate(quotas, "a", 100)) == (10, "c")


def test_a_thousand_of_the_small_world_are_bound_by_ssm_at_a_hundred_seconds() -> None:
    seconds, name = bound(plans.calls(AGENT.plan(plans.PAGES)), 1_000, DEFAULT)

    assert (seconds, name) == (100, "SSM, default throughput")


def test_a_percentile_counts_also_who_never_got_there() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5, 4) == 2
    assert percentile([3.0, 1.0, 2.0], 0.99, 4) is None


def test_the_plan_of_the_simulation_is_what_the_agent_asks_for() -> None:
    keys = Keys(Secret("AKIA1"), Secret("x"))
    door = Door([Quota("none", ("ssm.path", "secrets.list", "secrets.batch"), 1e6, "")])
    with Loopback(door.answer) as server:
        session = AwsSession(
            "eu-west-1", Credentials(source="test", fetch=lambda: keys), Proxies(), {"AWS_ENDPOINT_URL": server.url}
        )
        parameters = Parameters(session.ssm()).under(PATH)
        reader = Secrets(session.secrets_manager())
        reader.batch(reader.names(PREFIX))

    assert len(parameters) == 40
    planned = Counter({name: count for name, count in plans.calls(AGENT.plan(4)).items() if name in door.calls})
    assert door.calls == planned


def test_a_fleet_of_a_hundred_is_served_at_the_rate_of_its_quota_and_nobody_fails() -> None:
    for seed in range(3):
        row = table.row(AGENT, Account(quotas=at_rate(DEFAULT, "ssm.path", 4)), 100, within=6, seed=seed)

        assert row.failures == 0
        assert row.throttled > 100
        assert row.over_bound is not None
        assert row.over_bound <= 1.3


def test_a_hundred_at_the_very_same_moment_are_served_in_time_too() -> None:
    row = table.row(AGENT, Account(quotas=DEFAULT), 100, within=0, seed=1)

    assert row.bound_by == "SSM, default throughput"
    assert row.over_bound is not None
    assert row.over_bound <= 1.3


def test_a_run_without_time_for_the_whole_fleet_loses_little_of_what_was_served() -> None:
    account = Account(quotas=at_rate(DEFAULT, "ssm.path", 4))
    behaviour = replace(AGENT, deadline_seconds=60.0, restart_seconds=1.0)

    row = table.row(behaviour, account, 100, within=6, seed=1)

    assert row.failures > 0
    assert row.last is not None
    assert row.last <= 1.3 * row.bound


def test_giving_up_after_three_attempts_and_starting_over_melts_a_fleet() -> None:
    row = table.row(SCRIPTS, Account(quotas=at_rate(DEFAULT, "ssm.path", 4)), 100, within=6, seed=1, horizon=200)

    assert row.failures > 1_000
    assert row.p99 is None


def test_the_retry_quota_of_the_sdk_ends_a_long_wait_and_the_agent_has_none() -> None:
    over = Deadline.after(Loop(), 1e6)
    caller = Botocore(over, random.Random(1), attempts=1_000)

    pauses = [caller.refused("ssm.path", attempt) for attempt in range(1, 200)]

    assert pauses.index(None) == 100


def test_the_same_seed_gives_the_same_fleet_and_another_another() -> None:
    account = Account(quotas=at_rate(DEFAULT, "ssm.path", 4))
    first, again, other = (Fleet(AGENT, account, seed).boot(50, 6).finished for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_an_undisturbed_run_takes_its_longest_chain_of_calls() -> None:
    account = Account(quotas=HIGHER, call_seconds=0.1)

    # Two listings and the manifest, then four pages.
    assert undisturbed(AGENT, account) == pytest.approx(plans.AGENT_START_SECONDS + 7 * 0.1)


def test_the_simulated_clock_is_not_slept_on() -> None:
    with pytest.raises(AssertionError, match="yields its pauses"):
        Loop().sleep(1)
