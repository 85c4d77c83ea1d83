"""Log rotation is added to daemon.json, and everything else in it stays."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HostError
from agent.steps.log_rotation import ensure

LIMITS = {"max-size": "10m", "max-file": "3"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.dictionaries(st.sampled_from(["max-size", "max-file", "compress", "tag", "labels"]), st.text(max_size=4))
CONFIGS = st.builds(
    lambda rest, known: {**rest, **known},
    st.dictionaries(st.text(max_size=6), JSON, max_size=4).map(
        lambda rest: {name: value for name, value in rest.items() if not name.startswith("log-")}
    ),
    st.fixed_dictionaries(
        {}, optional={"log-driver": st.sampled_from(["json-file", "local", "journald"]), "log-opts": OPTIONS}
    ),
)


def read(path: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads(path.read_bytes())
    return config


@given(config=CONFIGS)
def test_all_other_keys_stay_and_json_file_logs_have_a_limit_afterwards(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("docker") / "daemon.json"
    path.write_text(json.dumps(config))
    before = path.read_bytes()
    rotation = ensure(path)
    after = read(path)

    def others(document: object) -> dict[str, object]:
        assert isinstance(document, dict)
        return {name: value for name, value in document.items() if name not in {"log-driver", "log-opts"}}

    assert others(config) == others(after)
    if config.get("log-driver", "json-file") != "json-file":
        assert before == path.read_bytes()
    else:
        options = after["log-opts"]
        assert isinstance(options, dict)
        assert "max-size" in options
        assert {**LIMITS, **config.get("log-opts", {})} == {**LIMITS, **options}
    assert rotation.changed == (before != path.read_bytes())
    assert not ensure(path).changed


def test_a_host_without_the_file_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "docker" / "daemon.json"
    rotation = ensure(path)

    assert rotation.changed
    assert read(path) == {"log-driver": "json-file", "log-opts": LIMITS}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("content", ["", "  \n"])
def test_an_empty_file_is_one_without_settings(tmp_path: Path, content: str) -> None:
    (tmp_path / "daemon.json").write_text(content)

    assert ensure(tmp_path / "daemon.json").changed
    assert read(tmp_path / "daemon.json")["log-opts"] == LIMITS


def test_a_limit_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"log-opts":   {"max-size": "1g"}}')
    rotation = ensure(path)

    assert (rotation.changed, rotation.text) == (False, "max-size 1g")
    assert path.read_text() == '{"log-opts":   {"max-size": "1g"}}'


def test_another_driver_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text('{"log-driver": "local"}')

    assert ensure(tmp_path / "daemon.json").text == "log driver local"


def test_the_mode_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text("{}")
    (tmp_path / "daemon.json").chmod(0o600)
    ensure(tmp_path / "daemon.json")

    assert stat.S_IMODE((tmp_path / "daemon.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "invalid JSON"),
        ("[]", "no JSON object"),
        ('{"log-opts": []}', "log-opts is no JSON object"),
        ("\xff", "JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_never_replaced(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(HostError, match=said) as caught:
        ensure(path)
    assert content.encode("latin-1") == path.read_bytes()
    assert caught.value.exit_status == 74
