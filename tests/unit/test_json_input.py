"""JSON that is nested too deep: one bad JSON as any other, for each of its readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.aws import imds_role
from agent.aws.parameters import Parameters
from agent.errors import AwsError, EngineError, HostError, ImdsError, StateBroken
from agent.host import json_input
from agent.host.clock import Deadline, SystemClock
from agent.host.engine import Engine
from agent.host.paths import Paths
from agent.report import history, status
from agent.steps import archive, cloud_init, daemon_json, state, user_data
from agent.variables import json_text
from tests.lab.loopback import Loopback, Reply
from tests.unit.test_attempts import seconds, session

# 900: Python's reader takes them, and who walks through them falls.
LEVELS = (900, 200_000)


def nested(levels: int, within: str = '{"x": %s}') -> str:
    return within % ("[" * levels + "]" * levels)


@pytest.fixture(params=LEVELS)
def deep(request: pytest.FixtureRequest) -> str:
    return nested(int(request.param))


@pytest.mark.parametrize(
    "text", [nested(255), '{"a":' * 256 + "1" + "}" * 256, "[[], {}, [1, [2]]]", "1", b'"\xc3\xa9"']
)
def test_256_levels_are_read_whatever_they_are_made_of(text: str | bytes) -> None:
    json_input.loads(text)


@pytest.mark.parametrize(
    "text", [nested(256), '{"a":' * 257 + "1" + "}" * 257, *map(nested, LEVELS), "[" * 200_000, "{"]
)
def test_more_of_them_are_as_bad_as_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper than 256 levels|Expecting"):
        json_input.loads(text)


def test_a_state_is_broken_a_setting_invalid_and_a_status_unreadable(deep: str, tmp_path: Path) -> None:
    for name in ("state.json", "daemon.json", "status.json", "files.json"):
        (tmp_path / name).write_text(deep)
    release = tmp_path / "releases/1"
    release.mkdir(parents=True)
    (release / "files.json").write_text(deep)

    with pytest.raises(StateBroken, match="nested deeper"):
        state.load(tmp_path, None)
    with pytest.raises(HostError, match="invalid JSON: nested deeper"):
        daemon_json.read(tmp_path / "daemon.json")
    with pytest.raises(HostError, match="nested deeper"):
        status.read(tmp_path / "status.json")
    assert archive.latest(tmp_path) == {}


def test_a_run_of_the_history_is_left_out(deep: str, tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(f'{deep}\n{{"run": "a"}}\n')

    assert history.read(tmp_path / "history.jsonl", 10) == [{"run": "a"}]


def test_a_result_of_cloud_init_is_an_unreadable_one(deep: str, tmp_path: Path) -> None:
    place = tmp_path / "run/cloud-init/result.json"
    place.parent.mkdir(parents=True)
    place.write_text(deep)

    assert "no datasource" in cloud_init.look(Paths(tmp_path), tmp_path / ".env").causes[0]


def test_user_data_is_somebody_else_s_and_a_secret_no_object(deep: str) -> None:
    assert user_data.section_of(deep) is None
    assert json_text.parse_object(deep) is None


def test_an_answer_of_the_metadata_service_is_no_json(deep: str) -> None:
    with pytest.raises(ImdsError, match="no JSON"):
        imds_role.parsed(deep, "reading")


def test_an_answer_of_aws_is_an_error_of_aws() -> None:
    with Loopback(lambda _: Reply(body=nested(200_000).encode())) as server:
        parameters = Parameters(session(server.url, deadline=seconds(5)).ssm())
        with pytest.raises(AwsError, match="reading parameters under /x/: the answer is nested too deep"):
            list(parameters.under("/x/"))


def test_an_answer_of_the_engine_is_an_error_of_the_engine() -> None:
    with Loopback(lambda _: Reply(body=nested(200_000).encode())) as server:
        engine = Engine(server.url.replace("http", "tcp"), Deadline.after(SystemClock(), 5))
        with pytest.raises(EngineError, match="listing the running containers"):
            engine.running()
