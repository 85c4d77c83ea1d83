"""The label of a service changes when a bundle file that it sees changes, and only then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.secret import Secret
from agent.steps.compose import Model
from agent.steps.mounted import BUNDLE as LABEL
from agent.steps.mounted import CONTENTS, FILES, MOST_NAMED, labels, override
from agent.steps.service import Service


def planted(tmp_path: Path) -> Path:
    services = tmp_path / "services"
    for path in ("api/Caddyfile", "api/conf/a", "api/conf/deep/b", "api/config", "common/otel.yaml", "api/local"):
        (services / path).parent.mkdir(parents=True, exist_ok=True)
        (services / path).write_text(path)
    return services


BUNDLE = {"api/Caddyfile", "api/conf/a", "api/conf/deep/b", "api/config", "common/otel.yaml", "api/gone"}


def label(services: Path, *mounts: str, bundle: set[str] = BUNDLE) -> str | None:
    service = Service(name="web", image="x", replicas=1, mounts=tuple(str(services / mount) for mount in mounts))
    made = labels(Model(name="api", services=(service,), warnings=()), services, bundle, None)
    return made["web"][LABEL] if made else None


KEY = Secret("ab" * 32)


def granted(**values: str) -> dict[str, str]:
    """The labels of a service that is granted secrets with these values."""
    service = Service(
        name="web",
        image="x",
        replicas=1,
        mounts=(),
        granted={f"secret {name}": Secret(value) for name, value in values.items()},
    )
    return labels(Model(name="api", services=(service,), warnings=()), Path("/none"), set(), KEY)["web"]


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
    made = labels(Model(name="api", services=(service,), warnings=()), services, BUNDLE, None)
    document = json.loads(override(made))

    assert list(document) == ["services"]
    assert list(document["services"]["web"]) == ["labels"]


def test_each_file_has_a_digest_so_that_the_changed_one_can_be_named(tmp_path: Path) -> None:
    services = planted(tmp_path)
    mounts = (str(services / "api/conf"), str(services / "common/otel.yaml"))
    service = Service(name="web", image="x", replicas=1, mounts=mounts)
    model = Model(name="api", services=(service,), warnings=())
    before = json.loads(labels(model, services, BUNDLE, None)["web"][FILES])
    (services / "api/conf/a").write_text("changed")

    after = json.loads(labels(model, services, BUNDLE, None)["web"][FILES])

    assert list(before) == ["api/conf/a", "api/conf/deep/b", "common/otel.yaml"]
    assert [path for path in before if before[path] != after[path]] == ["api/conf/a"]


def test_a_service_that_sees_many_files_has_only_the_one_digest(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    bundle = {f"api/{number}" for number in range(MOST_NAMED + 1)}
    for path in bundle:
        (tmp_path / path).touch()
    service = Service(name="web", image="x", replicas=1, mounts=(str(tmp_path / "api"),))

    assert list(labels(Model(name="api", services=(service,), warnings=()), tmp_path, bundle, None)["web"]) == [LABEL]


def test_contents_can_be_read_from_the_staged_tree(tmp_path: Path) -> None:
    services, staged = planted(tmp_path / "live"), planted(tmp_path / "staged")
    (staged / "api/Caddyfile").write_text("staged")
    service = Service(name="web", image="x", replicas=1, mounts=(str(services / "api/Caddyfile"),))
    model = Model(name="api", services=(service,), warnings=())
    ahead = labels(model, services, BUNDLE, None, find=staged.joinpath)

    (services / "api/Caddyfile").write_text("staged")

    assert labels(model, services, BUNDLE, None) == ahead


def test_a_changed_value_behind_a_secret_changes_only_its_own_part_of_the_label() -> None:
    before, after = granted(a="one", b="two"), granted(a="one", b="three")
    first, second = json.loads(before[CONTENTS]), json.loads(after[CONTENTS])

    assert first["secret a"] == second["secret a"]
    assert first["secret b"] != second["secret b"]


def test_a_label_tells_nothing_of_a_value() -> None:
    text = json.dumps(granted(a="hunter2", b="hunter2"))

    assert "hunter2" not in text
    digests = json.loads(granted(a="hunter2", b="hunter2")[CONTENTS])
    assert digests["secret a"] != digests["secret b"], "equal values are not seen to be equal"


def test_compose_does_not_replace_anything_in_a_label() -> None:
    document = json.loads(override({"web": {"x": "a$b"}}))

    assert document["services"]["web"]["labels"]["x"] == "a$$b"
