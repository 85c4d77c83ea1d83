"""What `update` and `rollback` aim at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import BootstrapError, UsageError
from agent.steps import bootstrap as bootstraps
from agent.steps.bootstrap import Bootstrap
from agent.steps.records import Release, Started
from agent.steps.state import State
from agent.target import as_it_says, back, changed, choose

TEXT = (
    "ENVIRONMENT=prod HOSTNAME=api-1 SERVER_ROLE=api ECR_REGISTRY=registry.example ECR_TAG=3\n"
    "CONFIG_BUCKET=bucket CONFIG_REF=v3 NAMESPACE=delphi/prod AWS_REGION=eu-central-1\n"
)
RELEASES = tuple(
    Release(number=n, role="api", slug="s", ref=f"v{n}", tag=str(n), bundle=f"{n}", images={}, verified_at="then")
    for n in (1, 2, 3)
)
STATE = State(instance_id="i-1", releases=RELEASES)


@pytest.fixture
def bootstrap(tmp_path: Path) -> Bootstrap:
    file = tmp_path / ".env"
    file.write_text(TEXT)
    return bootstraps.load(file, str(file))


def test_init_aims_at_what_the_file_says_and_writes_nothing_to_it(bootstrap: Bootstrap) -> None:
    target = as_it_says(bootstrap, STATE)

    assert (target.bootstrap, target.changes, target.back_to, target.asked) == (bootstrap, {}, None, False)


def test_update_aims_at_the_changed_file_and_remembers_what_it_said(bootstrap: Bootstrap) -> None:
    target = changed({"ECR_TAG": "4"})(bootstrap, STATE)

    assert (target.bootstrap.tag, target.bootstrap.ref) == ("4", "v3")
    assert target.changes == {"ECR_TAG": ("3", "4")}
    assert target.asked


@pytest.mark.parametrize(
    ("name", "value"), [("ECR_TAG", "a b"), ("ECR_TAG", ""), ("CONFIG_REF", "/x"), ("CONFIG_REF", "")]
)
def test_a_value_that_cannot_be_one_is_refused_before_anything_is_done(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        changed({name: value})


def test_a_file_in_which_another_name_draws_on_the_tag_is_refused(bootstrap: Bootstrap) -> None:
    bootstrap.path.write_text(f"{TEXT}IMAGE=app:$ECR_TAG\n")

    with pytest.raises(BootstrapError, match="IMAGE would change"):
        changed({"ECR_TAG": "4"})(bootstrap, STATE)


def test_rollback_aims_at_the_release_before_with_its_tag_and_ref(bootstrap: Bootstrap) -> None:
    target = back(None, force=False)(bootstrap, STATE)

    assert target.back_to == RELEASES[1]
    assert target.changes == {"CONFIG_REF": ("v3", "v2"), "ECR_TAG": ("3", "2")}


def test_rollback_can_name_any_release_that_is_kept() -> None:
    assert choose(STATE, 1) == RELEASES[0]


def test_with_a_deploy_left_unverified_rollback_means_the_release_that_was_verified_last() -> None:
    left = replace(STATE, started=Started(text="v4, tag 4", irreversible=False))

    assert choose(left, None) == RELEASES[2]
    assert choose(left, 2) == RELEASES[1]


def test_a_rollback_that_was_killed_is_gone_on_with() -> None:
    killed = replace(STATE, started=Started(text="v2, tag 2", irreversible=False, back_to=2))

    assert choose(killed, None) == RELEASES[1]


def test_a_one_way_step_of_a_release_that_was_left_is_not_forgotten(bootstrap: Bootstrap) -> None:
    left = replace(STATE, started=Started(text="v4, tag 4", irreversible=True))

    with pytest.raises(UsageError, match="v4, tag 4 was started"):
        back(None, force=False)(bootstrap, left)


@pytest.mark.parametrize(("kept", "number"), [(STATE, 9), (replace(STATE, releases=RELEASES[:1]), None)])
def test_a_release_that_is_not_there_is_told_with_those_that_are(kept: State, number: int | None) -> None:
    with pytest.raises(UsageError, match="kept: 1"):
        choose(kept, number)


def test_a_release_that_cannot_be_taken_back_is_not_left_unless_forced(bootstrap: Bootstrap) -> None:
    one_way = replace(STATE, releases=(*RELEASES[:2], replace(RELEASES[2], irreversible=True)))

    with pytest.raises(UsageError, match="release 3 says `irreversible: true`"):
        back(None, force=False)(bootstrap, one_way)
    assert back(None, force=True)(bootstrap, one_way).back_to == RELEASES[1]


def test_a_release_of_another_role_is_refused(bootstrap: Bootstrap) -> None:
    other = replace(STATE, releases=(replace(RELEASES[0], role="web"), *RELEASES[1:]))

    with pytest.raises(UsageError, match="of the role web"):
        back(1, force=False)(bootstrap, other)
