"""Fingerprints: that a value changed can be told, the value cannot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.secret import Secret
from agent.steps import fingerprints


def taken(folder: Path, **values: str) -> fingerprints.Fingerprints:
    return fingerprints.take(fingerprints.make_key(folder), {name: Secret(text) for name, text in values.items()})


def test_the_key_is_made_once_and_only_root_can_read_it(tmp_path: Path) -> None:
    first = fingerprints.make_key(tmp_path / "state")
    again = fingerprints.make_key(tmp_path / "state")

    assert first == again
    assert (tmp_path / "state" / "fingerprint.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_changed_new_and_removed_values_are_told_by_name(tmp_path: Path) -> None:
    before = taken(tmp_path, A="1", B="2", C="3")
    now = taken(tmp_path, A="1", B="two", D="4")

    difference = fingerprints.compare(before, now)

    assert (difference.added, difference.changed, difference.removed) == (("D",), ("B",), ("C",))
    assert [difference.of(name) for name in "ABD"] == ["same", "changed", "new"]
    assert difference.any


def test_with_another_key_nothing_is_known_rather_than_everything_changed(tmp_path: Path) -> None:
    difference = fingerprints.compare(taken(tmp_path / "one", A="1"), taken(tmp_path / "other", A="1"))

    assert not difference.known
    assert not difference.any
    assert difference.of("A") == "unknown"


def test_equal_values_of_two_variables_do_not_look_equal(tmp_path: Path) -> None:
    values = taken(tmp_path, A="same", B="same").values

    assert values["A"] != values["B"]


def test_a_fingerprint_is_no_plain_hash_of_the_value(tmp_path: Path) -> None:
    [made] = taken(tmp_path, PIN="1234").values.values()

    assert made not in {hashlib.new(name, b"1234").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}


def test_a_broken_key_is_told_to_who_reads_and_replaced_by_who_writes(tmp_path: Path) -> None:
    (tmp_path / "fingerprint.key").write_text("short")

    with pytest.raises(HostError) as caught:
        fingerprints.read_key(tmp_path)
    assert "remove the file" in caught.value.next_step
    assert fingerprints.make_key(tmp_path) == fingerprints.read_key(tmp_path)


def test_without_a_key_reading_finds_none_and_makes_none(tmp_path: Path) -> None:
    assert fingerprints.read_key(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
