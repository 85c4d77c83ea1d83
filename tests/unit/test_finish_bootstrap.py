"""What a verified release had still to write to the bootstrap file, when its run was ended before it could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.aws.retrying import place_of
from agent.errors import BootstrapError
from agent.report.record import Recorder
from agent.stages.host import finish_bootstrap, identify, load_bootstrap, recall
from agent.steps import state
from agent.steps.bootstrap import Bootstrap
from agent.steps.state import State
from tests.lab.loopback import Loopback
from tests.unit.fakes import HEAD
from tests.unit.test_first_values import ENDPOINT, Boot
from tests.unit.test_imds import TREE, Service
from tests.unit.test_target import RELEASES, TEXT

KEYS = "AWS_ACCESS_KEY_ID=AKIAEXAMPLE AWS_SECRET_ACCESS_KEY=c4naryV4lue\n"
PENDING = {"ECR_TAG": ("3", "4"), "CONFIG_REF": ("v3", "v4")}
CLOUD_INIT = "/var/lib/cloud/data/instance-id"


def plant(boot: Boot, of: str, text: str) -> Boot:
    """The bootstrap file, and the state of instance `of`, which has still to write to it."""
    boot.plant("/opt/deployment/.env", text)
    boot.paths.bootstrap.chmod(0o600)
    state.save(boot.paths.state, State(instance_id=of, releases=RELEASES, bootstrap=PENDING))
    return boot


def next_boot(boot: Boot) -> tuple[Bootstrap, State]:
    """What `boot` does up to its aim."""
    loaded = load_bootstrap(boot.run, writes=True)
    return finish_bootstrap(boot.run, loaded, recall(boot.run, identify(boot.run, loaded), repair=True))


@pytest.fixture(params=["role", "keys"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Boot, str, str]]:
    """A host, its id and what its bootstrap file says: an instance with a role, and one elsewhere with static keys."""
    if request.param == "role":
        with Loopback(Service(TREE)) as server:
            yield Boot(tmp_path, **{ENDPOINT: server.url}), TREE["meta-data/instance-id"], TEXT
    else:
        boot = Boot(tmp_path)
        boot.plant(CLOUD_INIT, "222\n")
        yield boot, "222", TEXT + KEYS


def test_it_is_written_by_the_next_boot_which_goes_by_it_once(host: tuple[Boot, str, str]) -> None:
    boot, own, text = host
    plant(boot, own, text)

    bootstrap, kept = next_boot(boot)

    assert (bootstrap.tag, bootstrap.ref) == ("4", "v4")
    written = text.replace("ECR_TAG=3", "ECR_TAG=4").replace("CONFIG_REF=v3", "CONFIG_REF=v4")
    assert boot.paths.bootstrap.read_text() == written
    assert kept.bootstrap == {}
    assert state.load(boot.paths.state, own)[0].bootstrap == {}


def test_on_a_clone_it_is_not_written_to_the_file_that_says_the_same(host: tuple[Boot, str, str]) -> None:
    boot, _, text = host
    plant(boot, "111", text)

    bootstrap, kept = next_boot(boot)

    assert (bootstrap.tag, bootstrap.ref) == ("3", "v3")
    assert boot.paths.bootstrap.read_text() == text
    assert (kept.bootstrap, kept.releases) == ({}, ())


def test_what_somebody_has_changed_since_stays(host: tuple[Boot, str, str]) -> None:
    boot, own, text = host
    changed = text.replace("ECR_TAG=3", "ECR_TAG=9")
    plant(boot, own, changed)

    bootstrap, _ = next_boot(boot)

    assert (bootstrap.tag, bootstrap.ref) == ("9", "v4")
    assert boot.paths.bootstrap.read_text() == changed.replace("CONFIG_REF=v3", "CONFIG_REF=v4")


def test_only_an_instance_that_boots_takes_its_place_in_the_fleet(host: tuple[Boot, str, str]) -> None:
    boot, own, text = host
    loaded = load_bootstrap(plant(boot, own, text).run)
    boots = replace(boot.run, recorder=Recorder(replace(HEAD, boot=True), boot.clock, []))

    assert identify(boot.run, loaded).session.place is None
    assert identify(boots, loaded).session.place == place_of(own)


def test_addresses_of_the_agent_s_own_environment_that_are_none_are_told_at_once_before_anything_is_asked(
    host: tuple[Boot, str, str],
) -> None:
    boot, own, text = host
    loaded = load_bootstrap(plant(boot, own, text).run)
    bad = {"AWS_ENDPOINT_URL": "c4nary:4566", "AWS_ENDPOINT_URL_SSM": "c4nary"}
    started = replace(boot.run, host=replace(boot.run.host, environ={**boot.run.host.environ, **bad}))

    with pytest.raises(BootstrapError, match="reading the agent's own environment") as caught:
        identify(started, loaded)

    assert "AWS_ENDPOINT_URL must be" in caught.value.cause
    assert "AWS_ENDPOINT_URL_SSM must be" in caught.value.cause
    assert "c4nary" not in str(caught.value)
