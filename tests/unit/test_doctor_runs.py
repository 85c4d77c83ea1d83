"""What `doctor` tells of other runs: the lock's holder, and what earlier ones have left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.doctor import runs
from agent.doctor.facts import Facts
from agent.doctor.line import Line
from agent.steps import state
from agent.steps.records import Failed, Journal, Release, Started
from agent.steps.state import State
from tests.unit.test_doctor import facts_of
from tests.unit.test_lock import holder

RELEASE = Release(number=3, role="api", slug="delphi", ref="v2", tag="9", bundle="b", images={}, verified_at="then")
KEPT = State(instance_id="local", releases=(RELEASE,))


def told(tmp_path: Path, kept: State, *, at_work: bool = False) -> list[Line]:
    facts: Facts = facts_of(tmp_path)
    facts.at_work = at_work
    state.save(facts.host.paths.state, kept)
    return list(runs.kept_state(facts))


def test_the_holder_of_the_lock_is_told_without_taking_it(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert [line.state for line in runs.lock(facts)] == ["ok"]
    facts.host.paths.run.mkdir(parents=True)

    with holder(facts.host.paths.lock):
        [line] = runs.lock(facts)

    assert line.state == "warn"
    assert "`delphi-agent init`, pid 4711, started by root at noon" in line.why
    assert facts.at_work


def test_a_killed_run_s_lock_is_free_whatever_its_file_says(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    facts.host.paths.run.mkdir(parents=True)
    with holder(facts.host.paths.lock):
        pass

    assert facts.host.paths.lock.stat().st_size
    assert [line.state for line in runs.lock(facts)] == ["ok"]


def test_a_lock_on_another_file_system_s_file_of_the_same_number_is_not_this_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    found = path.stat()
    line = "1: FLOCK  ADVISORY  WRITE {} {:02x}:{:02x}:{} 0 EOF"
    device = (os.major(found.st_dev), os.minor(found.st_dev))

    assert not runs.held(path, [line.format(os.getpid(), device[0], device[1] ^ 1, found.st_ino)])
    assert runs.held(path, [line.format(0, *device, found.st_ino)])


def test_where_the_kernel_names_another_device_and_number_the_owner_s_open_files_tell(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        lines = [f"1: FLOCK  ADVISORY  WRITE {process.pid} 00:ff:1 0 EOF"]
        assert runs.held(path, lines)
        (tmp_path / "other").touch()
        assert not runs.held(tmp_path / "other", lines)

    assert not runs.held(path, lines)


def test_a_process_that_only_has_the_file_open_does_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w"):
        assert not runs.held(path, [f"1: FLOCK  ADVISORY  WRITE {os.getpid()} 00:ff:1 0 EOF"])


def test_the_last_healthy_release_is_told(tmp_path: Path) -> None:
    assert [(line.state, line.why) for line in told(tmp_path, KEPT)] == [
        ("ok", "release 3 (v2, tag 9), seen healthy at then")
    ]
    [line] = told(tmp_path, replace(KEPT, releases=()))
    assert line.why == "nothing deployed yet"


@pytest.mark.parametrize(
    ("started", "words"),
    [
        (Started(text="v3, tag 10", irreversible=False), ("init", "goes back to release 3")),
        (Started(text="v3, tag 10", irreversible=True), ("init", "rollback --force")),
        (Started(text="v1, tag 8", irreversible=False, back_to=2), ("rollback` goes on to release 2", "init")),
    ],
)
def test_a_release_that_was_started_and_never_seen_healthy_says_how_to_go_on(
    tmp_path: Path, started: Started, words: tuple[str, ...]
) -> None:
    journal = Journal(release=3, applying=False, originals={})

    warned, last = told(tmp_path, replace(KEPT, started=started, journal=journal))

    assert (warned.state, last.state) == ("warn", "ok")
    assert warned.why.startswith(f"{started.text} was started and never seen healthy")
    assert warned.why.endswith("last healthy: release 3")
    assert [word for word in words if word not in warned.fix] == []


@pytest.mark.parametrize(("applying", "words"), [(True, "a mix of two bundles"), (False, "before it started anything")])
def test_files_that_a_killed_run_has_replaced_are_told(tmp_path: Path, *, applying: bool, words: str) -> None:
    journal = Journal(release=3, applying=applying, originals={})

    line = told(tmp_path, replace(KEPT, journal=journal))[0]

    assert line.state == "warn"
    assert words in line.why


def test_what_is_open_belongs_to_the_run_that_is_at_work(tmp_path: Path) -> None:
    kept = replace(
        KEPT,
        started=Started(text="v3, tag 10", irreversible=False),
        journal=Journal(release=3, applying=True, originals={}),
    )

    assert [line.state for line in told(tmp_path, kept, at_work=True)] == ["ok"]


def test_a_tag_that_the_bootstrap_file_does_not_have_yet_is_told_and_one_that_it_has_is_not(tmp_path: Path) -> None:
    has = facts_of(tmp_path).bootstrap.variables["ECR_TAG"]

    line = told(tmp_path, replace(KEPT, bootstrap={"ECR_TAG": (has, "new")}))[0]
    assert line.state == "warn"
    assert "deployed is ECR_TAG=new" in line.why
    assert "init" in line.fix

    assert [item.state for item in told(tmp_path, replace(KEPT, bootstrap={"ECR_TAG": ("old", has)}))] == ["ok"]


@pytest.mark.parametrize(
    ("left", "words"),
    [(False, "failed at noon and was taken back: api was unhealthy"), (True, "an operator went back from ref v2")],
)
def test_a_release_that_is_not_tried_again_says_who_decided_so(tmp_path: Path, *, left: bool, words: str) -> None:
    failed = Failed(release=RELEASE, at="noon", cause="api was unhealthy", left=left)

    line = told(tmp_path, replace(KEPT, failed=failed))[0]

    assert line.state == "warn"
    assert words in line.why
    assert "init --retry" in line.fix


def test_a_state_of_another_instance_is_none_of_this_one_s(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    folder = facts.host.paths.at("/var/lib/cloud/data")
    folder.mkdir(parents=True)
    (folder / "instance-id").write_text("i-new\n")
    failed = Failed(release=RELEASE, at="noon", cause="api was unhealthy")
    state.save(facts.host.paths.state, replace(KEPT, instance_id="i-old", failed=failed))

    [line] = runs.kept_state(facts)

    assert line.state == "ok"
    assert "i-old" in line.why


def test_a_state_that_cannot_be_read_is_a_warning_since_a_run_goes_on_without(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    facts.host.paths.state.mkdir(parents=True)
    (facts.host.paths.state / "state.json").write_text("{")

    assert [line.state for line in runs.kept_state(facts)] == ["warn"]
