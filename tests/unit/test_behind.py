"""A large object is hashed while it is read: in order, to the end, and with no thread left."""

from __future__ import annotations

import threading

import pytest

from agent.aws.behind import LARGE, behind
from agent.aws.content import Piece


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_large_content_is_heard_in_order_by_another_thread_which_is_done_at_the_end() -> None:
    heard: list[tuple[int, Piece]] = []
    pieces = [bytes([number % 256]) for number in range(1000)]

    with behind(lambda piece: heard.append((threading.get_ident(), piece)), LARGE) as hear:
        for piece in pieces:
            hear(piece)

    assert [piece for _, piece in heard] == pieces
    assert {ident for ident, _ in heard} != {threading.get_ident()}
    assert "hashing" not in names()


def test_a_small_content_is_heard_at_once() -> None:
    heard: list[Piece] = []

    with behind(heard.append, LARGE - 1) as hear:
        hear(b"a")
        assert heard == [b"a"]
        assert "hashing" not in names()


def test_a_content_that_breaks_leaves_no_thread() -> None:
    def break_off() -> None:
        with behind(lambda _: None, LARGE) as hear:
            hear(b"a")
            raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"):
        break_off()
    assert "hashing" not in names()
