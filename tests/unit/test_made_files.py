"""Files that a manifest had made from variables and names no more: they go, and what is not the agent's stays."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.host.paths import Paths
from agent.report.record import Recorder
from agent.run import Run
from agent.stages import host_files
from agent.steps import fingerprints, journal, state, undo
from agent.steps.compose import Model
from agent.steps.host_files import HostFile, Ready
from agent.steps.service import Service
from agent.steps.state import State
from agent.variables.manifest import Manifest
from tests.unit.fakes import HEAD, FakeClock, FakeCommands, Sayings
from tests.unit.runs import run_on

DECLARED = HostFile(variable="KEY", path="tls/key.pem")
WITH = Manifest(name="vars.yaml", service="api", variables=(), warnings=(), files=(DECLARED,))
WITHOUT = replace(WITH, files=())
COMPOSE = "services: {api: {image: x}}\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    clock = FakeClock()
    made = run_on(
        tmp_path, clock=clock, commands=FakeCommands(), engine=object(), recorder=Recorder(HEAD, clock, [Sayings()])
    )
    (made.host.paths.services / "api").mkdir(parents=True)
    (made.host.paths.services / "api/compose.yaml").write_text(COMPOSE)
    return made


def live(run: Run) -> Path:
    return run.host.paths.services / "api/tls/key.pem"


def write(run: Run, kept: State, content: bytes = b"the key") -> State:
    ready = Ready(path="api/tls/key.pem", content=content, mode=0o600, uid=os.getuid(), gid=os.getgid())
    return host_files.write_files(run, "api", WITH, [ready], kept)


def verified(run: Run, kept: State, manifest: Manifest, *mounts: str) -> tuple[State, tuple[str, ...]]:
    """What `record` does of it, and the state as the next run finds it."""
    service = Service(name="api", image="x", replicas=1, mounts=mounts)
    model = Model(name="api", services=(service,), warnings=())
    kept, gone = host_files.remove_undeclared(run, "api", manifest, replace(kept, journal=None), model)
    state.save(run.host.paths.state, kept)
    return state.load(run.host.paths.state, None)[0], gone


def test_what_was_written_goes_with_its_folder_and_is_forgotten(run: Run) -> None:
    kept, gone = verified(run, write(run, State(instance_id="i")), WITH)
    assert (live(run).read_bytes(), gone) == (b"the key", ())

    kept, gone = verified(run, kept, WITHOUT)

    assert gone == ("api/tls/key.pem",)
    assert not live(run).parent.exists()
    assert kept.made == {}


def test_it_goes_with_the_value_that_it_had_last(run: Run) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    kept, _ = verified(run, write(run, kept, b"another key"), WITH)
    kept, _ = verified(run, write(run, kept, b"another key"), WITH)

    assert verified(run, kept, WITHOUT)[1] == ("api/tls/key.pem",)


def test_what_a_hook_or_a_person_has_put_in_its_place_stays(run: Run) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    live(run).write_bytes(b"of a hook")

    kept, gone = verified(run, kept, WITHOUT)

    assert (live(run).read_bytes(), gone, kept.made) == (b"of a hook", (), {})


def test_a_file_of_somebody_else_s_that_was_as_wanted_all_along_stays(run: Run) -> None:
    live(run).parent.mkdir()
    live(run).write_bytes(b"the key")
    live(run).chmod(0o600)
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    assert kept.made == {"api/tls/key.pem": ""}, "an image must not have it all the same"

    kept, gone = verified(run, kept, WITHOUT)

    assert (live(run).read_bytes(), gone) == (b"the key", ())


def test_a_release_that_was_taken_back_has_made_nothing(run: Run) -> None:
    kept = write(run, State(instance_id="i"))
    back = undo.undo(kept, run.host.paths.services, run.host.paths.state).state
    assert not live(run).exists()
    live(run).parent.mkdir(exist_ok=True)
    live(run).write_bytes(b"the key")

    kept, gone = verified(run, back, WITHOUT)

    assert (live(run).read_bytes(), gone) == (b"the key", ())


def test_a_release_that_was_taken_back_leaves_the_former_one_its_file(run: Run) -> None:
    first, _ = verified(run, write(run, State(instance_id="i")), WITH)
    state.save(run.host.paths.state, write(run, first, b"another key"))
    opened, _ = state.load(run.host.paths.state, None)
    assert opened.made != first.made

    back = undo.undo(opened, run.host.paths.services, run.host.paths.state).state

    assert back.made == first.made
    assert verified(run, back, WITHOUT)[1] == ("api/tls/key.pem",)


def test_a_file_that_a_service_mounts_by_its_name_stays(run: Run) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)

    kept, gone = verified(run, kept, WITHOUT, str(live(run)))

    assert (live(run).exists(), gone, list(kept.made)) == (True, (), ["api/tls/key.pem"])


@pytest.mark.parametrize(
    ("compose", "content"),
    [
        ("services: {api: {image: x, env_file: [tls/key.pem]}}\n", b"A=1\n"),
        ("include: [tls/key.pem]\n", b"services: {api: {image: x}}\n"),
        ("services: {api: {image: x, env_file: ['${WHERE}/key.pem']}}\n", b"A=1\n"),
        ("services: {api: {image: x, label_file: /opt/services/api/tls/key.pem}}\n", b"A=1\n"),
        ("include: [{path: other.yaml, env_file: tls/key.pem}]\n", b"A=1\n"),
        ("services: {api: {extends: {file: tls/key.pem, service: api}}}\n", b"services: {api: {image: x}}\n"),
    ],
)
def test_a_file_that_the_compose_files_name_stays(run: Run, compose: str, content: bytes) -> None:
    (run.host.paths.services / "api/compose.yaml").write_text(compose)
    kept, _ = verified(run, write(run, State(instance_id="i"), content), WITH)

    kept, gone = verified(run, kept, WITHOUT)

    assert (live(run).read_bytes(), gone, list(kept.made)) == (content, (), ["api/tls/key.pem"])


def test_nothing_is_removed_through_a_folder_that_is_a_link(run: Run, tmp_path: Path) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    (tmp_path / "private").mkdir()
    live(run).rename(tmp_path / "private/key.pem")
    live(run).parent.rmdir()
    live(run).parent.symlink_to(tmp_path / "private")

    assert verified(run, kept, WITHOUT)[1] == ()
    assert (tmp_path / "private/key.pem").read_bytes() == b"the key"


def test_a_state_that_knows_only_the_paths_is_read(tmp_path: Path) -> None:
    folder = Paths(tmp_path).state
    state.save(folder, State(instance_id="i", made={"api/a": "0a"}))
    path = folder / "state.json"
    assert '"made": {"api/a": "0a"}' in path.read_text()
    path.write_text(path.read_text().replace('{"api/a": "0a"}', '["api/a"]'))

    assert state.load(folder, "i")[0].made == {"api/a": "?"}


def test_what_was_remembered_without_its_content_stays_for_an_image_to_lose_it(run: Run) -> None:
    write(run, State(instance_id="i"))

    kept, gone = verified(run, State(instance_id="i", made={"api/tls/key.pem": "?"}), WITHOUT)

    assert (live(run).exists(), gone, kept.made) == (True, (), {"api/tls/key.pem": "?"})


@pytest.mark.parametrize("key", ["none", "another", "unreadable"])
def test_a_file_that_is_remembered_by_a_key_that_is_gone_stays_for_an_image_to_lose_it(run: Run, key: str) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    fingerprints.forget_key(run.host.paths.state)
    if key == "another":
        fingerprints.make_key(run.host.paths.state)
    elif key == "unreadable":
        (run.host.paths.state / "fingerprint.key").write_text("nonsense")

    after, gone = verified(run, kept, WITHOUT)

    assert (live(run).exists(), gone, after.made) == (True, (), kept.made)


def test_by_another_key_it_is_remembered_anew_as_soon_as_it_is_declared(run: Run) -> None:
    kept, _ = verified(run, write(run, State(instance_id="i")), WITH)
    fingerprints.forget_key(run.host.paths.state)
    kept, _ = verified(run, write(run, kept), WITH)

    assert verified(run, kept, WITHOUT)[1] == ("api/tls/key.pem",)


def test_a_transaction_over_several_attempts_leads_back_to_what_was_made_before_the_first(run: Run) -> None:
    first, _ = verified(run, write(run, State(instance_id="i")), WITH)
    kept = write(run, first, b"of one attempt")
    paths = run.host.paths
    kept = replace(kept, journal=journal.begin(kept, ["api/compose.yaml"], paths.services, paths.state)[0])
    kept = write(run, kept, b"of another")

    back = undo.undo(kept, paths.services, paths.state).state

    assert (live(run).read_bytes(), back.made) == (b"the key", first.made)
