"""What cloud-init's files say: whether it ran, on this instance, and whether the bootstrap file came with the image."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.errors import BootstrapError
from agent.host.paths import Paths
from agent.steps.bootstrap import load
from agent.steps.bootstrap_shape import faults_of_shape
from agent.steps.cloud_init import Findings, look

HOUR = 3600.0


def host(tmp_path: Path, result: object = None, **contents: str) -> Paths:
    paths = Paths(tmp_path)
    places = {"seen": "/var/lib/cloud/data/instance-id", "status": "/run/cloud-init/status.json"}
    if result is not None:
        put(paths.at("/run/cloud-init/result.json"), json.dumps(result))
    for name, content in contents.items():
        put(paths.at(places[name]), content)
    return paths


def put(path: Path, content: str = "", at: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    if at is not None:
        os.utime(path, (at, at))


def found(paths: Paths, instance_id: str = "") -> Findings:
    return look(paths, paths.bootstrap, instance_id)


def test_a_host_without_cloud_init_says_nothing(tmp_path: Path) -> None:
    assert found(Paths(tmp_path), "i-0abc") == Findings(ran=None, causes=(), warnings=())


def test_a_boot_without_errors_says_nothing(tmp_path: Path) -> None:
    result = {"v1": {"datasource": "DataSourceEc2Local", "errors": []}}

    assert found(host(tmp_path, result, seen="i-0abc\n"), "i-0abc") == Findings(ran=True, causes=(), warnings=())


@pytest.mark.parametrize("source", ["DataSourceNone", "None", None, ""])
def test_a_boot_without_a_datasource_is_a_cause(tmp_path: Path, source: str | None) -> None:
    seen = found(host(tmp_path, {"v1": {"datasource": source, "errors": []}}))

    assert not seen.ran
    assert "found no datasource, so no user data was run" in seen.causes[0]


def test_errors_of_cloud_init_are_counted_and_not_quoted(tmp_path: Path) -> None:
    errors = ["failed: AWS_SECRET_ACCESS_KEY=c4naryV4lue", "x"]
    seen = found(host(tmp_path, {"v1": {"datasource": "DataSourceEc2Local", "errors": errors}}))

    assert "2 errors" in seen.causes[0]
    assert "c4naryV4lue" not in str(seen)


@pytest.mark.parametrize("result", [[], {"v1": []}, "x", {"v1": {"datasource": 7, "errors": "c4naryV4lue"}}])
def test_a_result_of_another_shape_is_no_traceback(tmp_path: Path, result: object) -> None:
    assert "c4naryV4lue" not in str(found(host(tmp_path, result)))


def test_a_boot_that_has_not_finished_is_told_as_that(tmp_path: Path) -> None:
    assert "has not finished" in found(host(tmp_path, status="{}")).causes[0]


def test_a_boot_in_which_it_did_not_run_is_told(tmp_path: Path) -> None:
    paths = host(tmp_path, seen="i-0abc\n")

    assert "did not run in this boot" in found(paths).causes[0]
    put(paths.at("/etc/cloud/cloud-init.disabled"))
    assert "turned off on this host" in found(paths).causes[0]


@pytest.mark.parametrize(
    ("seen", "instance", "warns"),
    [
        ("i-0abc\n", "i-0def", True),
        ("i-0abc", "i-0abc", False),
        ("hetzner-4711", "i-0def", False),
        ("i-0abc", "", False),
        ("i-0abc", "4711", False),
        ("nocloud", "nocloud2", False),
    ],
)
def test_another_instance_s_id_is_a_warning_where_ids_can_be_compared(
    tmp_path: Path,
    seen: str,
    instance: str,
    warns: bool,  # noqa: FBT001 - what is expected
) -> None:
    paths = host(tmp_path, {"v1": {"datasource": "DataSourceEc2Local", "errors": []}}, seen=seen)

    assert bool(found(paths, instance).warnings) is warns


@pytest.mark.parametrize(("age", "warns"), [(30 * 24 * HOUR, True), (300.0, False), (0.0, False), (-HOUR, False)])
def test_a_bootstrap_file_that_is_older_than_the_first_boot_may_have_come_with_the_image(
    tmp_path: Path,
    age: float,
    warns: bool,  # noqa: FBT001 - what is expected
) -> None:
    paths, first = host(tmp_path, {"v1": {"datasource": "DataSourceEc2Local", "errors": []}}), 1.8e9
    put(paths.at("/var/lib/cloud/instance/sem/consume_data"), at=first)
    put(paths.at("/var/lib/cloud/instance/sem/config_scripts_user"), at=first + 60)
    put(paths.bootstrap, at=first - age)

    assert ["may have come with the image" in text for text in found(paths).warnings] == ([True] if warns else [])


# --- what a template left in


@pytest.mark.parametrize("value", ["'<your-bucket>'", "CHANGEME", "change-me", "AKIA...", "...", "'…'"])
def test_a_placeholder_that_was_never_filled_in_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# a comment\n\nNAMESPACE=ok\nDB_MASTER_SECRET_ARN={value}\nLOCAL={value}\n")

    with pytest.raises(BootstrapError) as caught:
        load(path, "/opt/deployment/.env")

    told = [line for line in caught.value.details if "placeholder" in line]
    assert told == ["/opt/deployment/.env:4: DB_MASTER_SECRET_ARN still has its placeholder; put the real value in"]


@pytest.mark.parametrize("value", ["a<b>c", "exchange", "v1.2.3", "..x", "arn:aws:x", "''"])
def test_a_value_that_only_looks_a_little_like_one_is_none(tmp_path: Path, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"DB_MASTER_SECRET_ARN='{value}'\n" if value != "''" else "DB_MASTER_SECRET_ARN=\n")

    with pytest.raises(BootstrapError) as caught:
        load(path, "/opt/deployment/.env")

    assert "placeholder" not in str(caught.value.details)


@pytest.mark.parametrize(("value", "fits"), [("123456789012", True), ("12345678901", False), ("1234-5678-9012", False)])
def test_an_account_is_twelve_digits(value: str, fits: bool) -> None:  # noqa: FBT001 - what is expected
    assert (not list(faults_of_shape({"AWS_ACCOUNT_ID": value}))) is fits
