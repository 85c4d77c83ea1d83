"""The private Docker configuration: the registry's token in front of every helper, the operator's own untouched."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.aws.ecr import Login
from agent.errors import HostError
from agent.secret import Secret
from agent.steps.registry import write_config

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
LOGIN = Login(ECR, "AWS", Secret("t0ken"))
AUTH = {"auth": base64.b64encode(b"AWS:t0ken").decode()}
HUB = "https://index.docker.io/v1/"
OTHER = {"auth": "b3RoZXI6cHc="}


def written(tmp_path: Path, own: object, login: Login | None = LOGIN) -> dict[str, Any]:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    if own is not None:
        (home / "config.json").write_text(own if isinstance(own, str) else json.dumps(own))
    write_config(tmp_path / "run", login, home)
    config: dict[str, Any] = json.loads((tmp_path / "run" / "config.json").read_bytes())
    return config


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_without_an_own_configuration_only_the_token_is_in_it(tmp_path: Path) -> None:
    assert written(tmp_path, None) == {"auths": {ECR: AUTH}, "credHelpers": {}}


def test_nobody_else_may_read_the_token(tmp_path: Path) -> None:
    written(tmp_path, None)

    assert (mode(tmp_path / "run"), mode(tmp_path / "run" / "config.json")) == (0o700, 0o600)


def test_the_own_configuration_stays_as_it_is(tmp_path: Path) -> None:
    own = {"auths": {HUB: OTHER}, "credsStore": "pass", "proxies": {"default": {"httpProxy": "http://10.0.1.5:3128"}}}
    written(tmp_path, own)

    assert json.dumps(own) == (tmp_path / "home" / "config.json").read_text()
    assert [tmp_path / "home" / "config.json"] == list((tmp_path / "home").iterdir())


def test_logins_to_other_registries_and_other_settings_keep_working(tmp_path: Path) -> None:
    config = written(tmp_path, {"auths": {HUB: OTHER}, "proxies": {"default": {}}, "HttpHeaders": {"X": "y"}})

    assert config["auths"] == {HUB: OTHER, ECR: AUTH}
    assert (config["proxies"], config["HttpHeaders"]) == ({"default": {}}, {"X": "y"})


def test_an_old_token_of_the_registry_is_replaced_under_both_of_its_names(tmp_path: Path) -> None:
    config = written(tmp_path, {"auths": {ECR: OTHER, f"https://{ECR}": OTHER}})

    assert config["auths"] == {ECR: AUTH}


@pytest.mark.parametrize("name", [ECR, f"https://{ECR}"])
def test_no_helper_stands_before_the_token(tmp_path: Path, name: str) -> None:
    config = written(tmp_path, {"credHelpers": {name: "ecr-login", "gcr.io": "gcloud"}})

    assert config["credHelpers"] == {"gcr.io": "gcloud"}


def test_a_store_becomes_a_helper_for_what_it_serves_and_does_not_hide_the_token(tmp_path: Path) -> None:
    own = {
        "credsStore": "pass",
        "auths": {"quay.io": {}, "ghcr.io": OTHER, ECR: {}},
        "credHelpers": {"gcr.io": "gcloud"},
    }
    config = written(tmp_path, own)

    assert "credsStore" not in config
    assert config["credHelpers"] == {HUB: "pass", "quay.io": "pass", "gcr.io": "gcloud"}
    assert config["auths"] == {"quay.io": {}, "ghcr.io": OTHER, ECR: AUTH}


def test_plugins_of_the_own_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "home" / "cli-plugins").mkdir(parents=True)
    config = written(tmp_path, {"cliPluginsExtraDirs": ["/usr/lib/docker"]})

    assert config["cliPluginsExtraDirs"] == ["/usr/lib/docker", str(tmp_path / "home" / "cli-plugins")]


def test_plugins_are_found_when_the_own_configuration_has_an_empty_list_of_them(tmp_path: Path) -> None:
    (tmp_path / "home" / "cli-plugins").mkdir(parents=True)

    assert len(written(tmp_path, {"cliPluginsExtraDirs": None})["cliPluginsExtraDirs"]) == 1


def test_without_a_login_the_own_configuration_is_used(tmp_path: Path) -> None:
    own = {"auths": {HUB: OTHER}, "credsStore": "pass"}

    assert own == written(tmp_path, own, login=None)


def test_what_an_earlier_run_left_is_erased_first(tmp_path: Path) -> None:
    (tmp_path / "run" / "buildx").mkdir(parents=True)
    (tmp_path / "run" / "buildx" / "x").write_bytes(b"old")
    written(tmp_path, None)

    assert [tmp_path / "run" / "config.json"] == list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("own", ["", "{", "[]", "null", "1", "\x00"])
def test_an_own_configuration_that_is_no_json_object_is_an_error_of_the_host(tmp_path: Path, own: str) -> None:
    with pytest.raises(HostError, match="reading") as caught:
        written(tmp_path, own)

    assert "home/config.json" in caught.value.doing


REGISTRIES = st.sampled_from([ECR, f"https://{ECR}", HUB, "quay.io", "ghcr.io"])


@given(
    own=st.fixed_dictionaries(
        {},
        optional={
            "auths": st.dictionaries(REGISTRIES, st.sampled_from([{}, OTHER])),
            "credHelpers": st.dictionaries(REGISTRIES, st.just("helper")),
            "credsStore": st.sampled_from(["", "store"]),
        },
    )
)
def test_whatever_the_own_configuration_is_docker_finds_the_token_and_all_others_as_before(
    tmp_path_factory: pytest.TempPathFactory, own: dict[str, Any]
) -> None:
    config = written(tmp_path_factory.mktemp("docker"), own)

    def asked(config: dict[str, Any], registry: str) -> object:
        """Where the client looks: a helper of this registry, the store, then the file."""
        helper = config.get("credHelpers", {}).get(registry) or config.get("credsStore")
        return helper or config.get("auths", {}).get(registry) or None

    assert asked(config, ECR) == AUTH
    known = set(own.get("auths", {})) | set(own.get("credHelpers", {})) | {HUB}
    for registry in known - {ECR, f"https://{ECR}"}:
        before, after = asked(own, registry), asked(config, registry)
        # A store is asked only for what it serves: an entry of the file that holds a login is that login.
        assert before == after or own.get("auths", {}).get(registry) == after
