"""Dataclasses with shared methods do what the standard library's do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dataclass import dataclass


@dataclass(frozen=True)
class Lean:
    """One of the agent's."""

    name: str
    size: int = 0
    note: str = dataclasses.field(default="", compare=False)
    hidden: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Full:
    """The same, of the standard library."""

    name: str
    size: int = 0
    note: str = dataclasses.field(default="", compare=False)
    hidden: str = dataclasses.field(default="", repr=False)


FIELDS = st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.sampled_from("ab"), st.sampled_from("ab"))


@given(FIELDS, FIELDS)
def test_they_compare_hash_and_show_as_the_librarys_do(
    one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    lean, full = (Lean(*one), Lean(*other)), (Full(*one), Full(*other))

    assert (lean[0] == lean[1]) == (full[0] == full[1])
    assert hash(lean[0]) == hash(full[0])
    assert repr(lean[0]) == repr(full[0]).replace("Full", "Lean")
    assert dataclasses.asdict(lean[0]) == dataclasses.asdict(full[0])
    assert dataclasses.replace(lean[0], size=7) == Lean(one[0], 7, one[2], one[3])


def test_one_of_another_class_is_another_one() -> None:
    @dataclass(frozen=True)
    class Child(Lean):
        """With the same fields."""

    assert Lean("a") != Child("a")
    other: object = ("a", 0, "", "")
    assert Lean("a") != other
    assert Child("a") == Child("a")


def test_one_that_is_not_frozen_has_no_hash() -> None:
    @dataclass
    class Open:
        """With a list."""

        items: list[int] = dataclasses.field(default_factory=list)

    one, other = Open(), Open()
    one.items.append(1)

    assert (one == other, one == Open([1])) == (False, True)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_keywords_alone_are_taken_where_it_says_so_and_own_methods_stay() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own:
        """With its own ideas."""

        name: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.name.lower() == other.name.lower()

        def __hash__(self) -> int:
            return hash(self.name.lower())

        def __repr__(self) -> str:
            return "one of its own"

    build: Callable[..., Own] = Own

    assert {Own(name="a"), Own(name="A")} == {Own(name="a")}
    assert repr(Own(name="a")) == "one of its own"
    with pytest.raises(TypeError):
        build("a")
