"""The label of a service changes when a bundle file that it sees changes, and only then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.steps.compose import LABEL, Model, Service
from agent.steps.mounted import override


def planted(tmp_path: Path) -> Path:
    services = tmp_path / "services"
    for path in ("api/Caddyfile", "api/conf/a", "api/conf/deep/b", "api/config", "common/otel.yaml", "api/local"):
        (services / path).parent.mkdir(parents=True, exist_ok=True)
        (services / path).write_text(path)
    return services


BUNDLE = {"api/Caddyfile", "api/conf/a", "api/conf/deep/b", "api/config", "common/otel.yaml", "api/gone"}


def label(services: Path, *mounts: str, bundle: set[str] = BUNDLE) -> str | None:
    service = Service(name="web", image="x", replicas=1, mounts=tuple(str(services / mount) for mount in mounts))
    document = json.loads(override(Model(name="api", services=(service,), warnings=()), services, bundle))
    labels: dict[str, dict[str, dict[str, str]]] = document["services"]
    return labels["web"]["labels"][LABEL] if labels else None


@pytest.mark.parametrize(
    ("mount", "changed", "seen"),
    [
        ("api/Caddyfile", "api/Caddyfile", True),
        ("api/Caddyfile", "api/conf/a", False),
        ("api/conf", "api/conf/a", True),
        ("api/conf", "api/conf/deep/b", True),
        ("api/conf", "api/config", False),
        ("api", "api/conf/deep/b", True),
        ("api", "common/otel.yaml", False),
        ("api", "api/local", False),
        ("", "common/otel.yaml", True),
    ],
)
def test_a_change_counts_when_the_service_sees_the_file(
    tmp_path: Path, mount: str, changed: str, *, seen: bool
) -> None:
    services = planted(tmp_path)
    before = label(services, mount)
    (services / changed).write_text("changed")

    assert seen == (before != label(services, mount))


def test_a_changed_mode_counts(tmp_path: Path) -> None:
    services = planted(tmp_path)
    before = label(services, "api/conf")
    (services / "api/conf/a").chmod(0o755)

    assert before != label(services, "api/conf")


def test_a_file_that_is_gone_counts(tmp_path: Path) -> None:
    services = planted(tmp_path)
    before = label(services, "api/conf")
    (services / "api/conf/a").unlink()

    assert before != label(services, "api/conf")


@pytest.mark.parametrize("mounts", [(), ("api/local",), ("api/gone",), ("../elsewhere",), ("../../../../../var/log",)])
def test_a_service_that_sees_no_file_of_the_bundle_has_no_label(tmp_path: Path, mounts: tuple[str, ...]) -> None:
    assert label(planted(tmp_path), *mounts) is None


def test_the_label_depends_neither_on_the_order_of_mounts_nor_on_seeing_a_file_twice(tmp_path: Path) -> None:
    services = planted(tmp_path)

    assert label(services, "api/conf", "api/Caddyfile") == label(services, "api/Caddyfile", "api/conf/a", "api/conf")


def test_the_rest_of_a_service_is_not_touched(tmp_path: Path) -> None:
    services = planted(tmp_path)
    service = Service(name="web", image="x", replicas=2, mounts=(str(services / "api/Caddyfile"),))
    document = json.loads(override(Model(name="api", services=(service,), warnings=()), services, BUNDLE))

    assert list(document) == ["services"]
    assert list(document["services"]["web"]) == ["labels"]
