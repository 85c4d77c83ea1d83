"""Which containers Compose has left half made, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.host.engine_answers import Container
from agent.steps import half_made
from tests.unit.fakes import HEALTHY

OLD = replace(HEALTHY, id="0c3d3146c234f0dc1e40", name="api-telapi-1")
NEW = replace(HEALTHY, id="8c8b2ea4a77d", name="0c3d3146c234_api-telapi-1", state="created", replaces=OLD.id)


class Engine:
    """Keeps what is asked of it; `leaving` are the ids of containers that go away when they are waited for."""

    def __init__(self, leaving: frozenset[str]) -> None:
        self.done: list[tuple[str, ...]] = []
        self._leaving = leaving

    def remove_container(self, container: Container) -> None:
        self.done.append(("remove", container.id))

    def rename_container(self, container: Container, name: str) -> None:
        self.done.append(("rename", container.id, name))

    def goes_away(self, container: Container) -> bool:
        return container.id in self._leaving


def finished(*containers: Container, leaving: frozenset[str] = frozenset()) -> list[tuple[str, ...]]:
    engine = Engine(leaving)
    ended = half_made.finish(engine, containers)
    assert len(ended.told) == len(engine.done)
    return [*engine.done, *(("doubtful", item.id) for item in ended.doubtful)]


# Compose up to 2.38 labels it with the old one's id, later ones with its name.
LABELS = pytest.mark.parametrize("label", [OLD.id, "telapi-1", "api-telapi-1"])


@LABELS
def test_one_beside_the_container_that_it_was_to_replace_is_removed(label: str) -> None:
    new = replace(NEW, replaces=label)

    assert finished(replace(OLD, state="exited"), new) == [("remove", NEW.id)]


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_what_it_was_to_replace_is_in_doubt_for_its_stop_may_be_under_way(state: str) -> None:
    assert finished(NEW, replace(OLD, state=state)) == [("remove", NEW.id), ("doubtful", OLD.id)]


def test_one_whose_name_another_has_by_now_is_removed() -> None:
    other = replace(OLD, id="another", state="exited")

    assert finished(other, NEW) == [("remove", NEW.id)]


@LABELS
def test_one_that_is_all_there_is_gets_its_name(label: str) -> None:
    assert finished(replace(NEW, replaces=label)) == [("rename", NEW.id, "api-telapi-1")]


@pytest.mark.parametrize("state", ["removing", "dead"])
def test_one_whose_predecessor_is_being_removed_gets_its_name_when_that_is_gone(state: str) -> None:
    going = replace(OLD, state=state)

    assert finished(going, NEW, leaving=frozenset({OLD.id})) == [("rename", NEW.id, "api-telapi-1")]
    assert finished(going, NEW) == [("remove", NEW.id)]


def test_what_has_run_or_has_its_name_or_was_named_so_by_its_owner_is_left_alone() -> None:
    assert finished(OLD) == []
    assert finished(OLD, replace(NEW, state="running")) == []
    assert finished(replace(NEW, name="api-telapi-1")) == []
    assert finished(OLD, replace(NEW, replaces="")) == []
