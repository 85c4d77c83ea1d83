"""Which containers Compose has left half made, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace

from agent.host.engine_answers import Container
from agent.steps import half_made
from tests.unit.fakes import HEALTHY

OLD = replace(HEALTHY, id="0c3d3146c234f0dc1e40", name="api-telapi-1")
NEW = replace(HEALTHY, id="8c8b2ea4a77d", name="0c3d3146c234_api-telapi-1", state="created", replaces=OLD.id)


class Engine:
    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def remove_container(self, container: Container) -> None:
        self.done.append(("remove", container.id))

    def rename_container(self, container: Container, name: str) -> None:
        self.done.append(("rename", container.id, name))


def finished(*containers: Container) -> list[tuple[str, ...]]:
    engine = Engine()
    told = half_made.finish(engine, containers)
    assert len(told) == len(engine.done)
    return engine.done


def test_one_beside_the_container_that_it_was_to_replace_is_removed() -> None:
    assert finished(OLD, NEW) == finished(NEW, replace(OLD, state="exited")) == [("remove", NEW.id)]


def test_one_whose_name_another_has_by_now_is_removed() -> None:
    assert finished(replace(OLD, id="another"), NEW) == [("remove", NEW.id)]


def test_one_that_is_all_there_is_gets_its_name() -> None:
    assert finished(NEW) == [("rename", NEW.id, "api-telapi-1")]


def test_what_has_run_or_has_its_name_or_was_named_so_by_its_owner_is_left_alone() -> None:
    assert finished(OLD) == []
    assert finished(OLD, replace(NEW, state="running")) == []
    assert finished(replace(NEW, name="api-telapi-1")) == []
    assert finished(OLD, replace(NEW, replaces="")) == []
