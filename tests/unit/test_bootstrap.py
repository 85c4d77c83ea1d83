"""The bootstrap file: what it must hold, and that all its faults are told at once, without a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import BootstrapError
from agent.steps.bootstrap import REQUIRED, Bootstrap, load
from agent.steps.names import steers_the_host

GOOD = {
    "ENVIRONMENT": "prod",
    "HOSTNAME": "api-1",
    "SERVER_ROLE": "api",
    "ECR_REGISTRY": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "ECR_TAG": "v0.9.11",
    "CONFIG_BUCKET": "delphi-config",
    "CONFIG_REF": "release/0.9",
    "NAMESPACE": "delphi/prod",
    "AWS_REGION": "eu-central-1",
}
CANARY = "c4naryV4lue"


def written(tmp_path: Path, changes: dict[str, str | None], mode: int = 0o600) -> Path:
    path = tmp_path / ".env"
    lines = [f"{name}={value}" for name, value in {**GOOD, **changes}.items() if value is not None]
    path.write_text("\n".join(lines) + "\n", errors="surrogateescape")
    path.chmod(mode)
    return path


def loaded(tmp_path: Path, **changes: str | None) -> Bootstrap:
    return load(written(tmp_path, changes), "/opt/deployment/.env")


def refused(tmp_path: Path, **changes: str | None) -> BootstrapError:
    with pytest.raises(BootstrapError) as caught:
        loaded(tmp_path, **changes)
    assert caught.value.exit_status == 78
    assert CANARY not in "\n".join([str(caught.value), caught.value.next_step, *caught.value.details])
    return caught.value


def test_every_value_of_the_contract_is_at_hand(tmp_path: Path) -> None:
    bootstrap = loaded(tmp_path, CONFIG_SLUG="acme", EXTRA="x")

    assert (bootstrap.environment, bootstrap.hostname, bootstrap.role) == ("prod", "api-1", "api")
    assert (bootstrap.registry, bootstrap.tag) == (GOOD["ECR_REGISTRY"], "v0.9.11")
    assert (bootstrap.bucket, bootstrap.ref, bootstrap.slug) == ("delphi-config", "release/0.9", "acme")
    assert (bootstrap.namespace, bootstrap.region) == ("delphi/prod", "eu-central-1")
    assert bootstrap.variables["EXTRA"] == "x"
    assert bootstrap.keys is None
    assert bootstrap.warnings == ()


def test_no_slug_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, CONFIG_SLUG="").slug is None


def test_a_missing_file_names_the_part_of_cloud_init_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="there is no such file") as caught:
        load(tmp_path / "none", "/opt/deployment/.env")

    assert "write_files" in caught.value.next_step
    assert "/opt/deployment/.env" in caught.value.doing


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="Is a directory"):
        load(tmp_path, "/opt/deployment/.env")


def test_all_missing_names_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"")

    with pytest.raises(BootstrapError) as caught:
        load(path, "x")

    assert [f"x: {name} is not set" for name in REQUIRED] == list(caught.value.details)


def test_an_empty_value_counts_as_missing(tmp_path: Path) -> None:
    assert refused(tmp_path, NAMESPACE="").details == ("/opt/deployment/.env: NAMESPACE is empty; set it",)


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    error = refused(tmp_path, NAMESPACE=None, NAMESPCE=CANARY)

    assert "did you mean NAMESPACE where the file says NAMESPCE" in error.details[0]


def test_faults_of_grammar_names_keys_and_shape_come_together_with_their_places(tmp_path: Path) -> None:
    error = refused(
        tmp_path, ECR_TAG=f"$({CANARY})", CONFIG_REF=None, AWS_ACCESS_KEY_ID=CANARY, AWS_REGION=f"'{CANARY}'"
    )

    assert error.cause == "4 faults"
    assert error.details[0].startswith("/opt/deployment/.env:5:9: ")
    assert [line.split(": ")[1].split()[0] for line in error.details[1:]] == [
        "CONFIG_REF",
        "AWS_ACCESS_KEY_ID",
        "AWS_REGION",
    ]


def test_what_an_unclosed_quote_hides_is_not_called_missing(tmp_path: Path) -> None:
    error = refused(tmp_path, ENVIRONMENT="'prod")

    assert len(error.details) == 1


def test_half_a_key_pair_is_a_fault_either_way(tmp_path: Path) -> None:
    assert "AWS_SECRET_ACCESS_KEY is not" in refused(tmp_path, AWS_ACCESS_KEY_ID=CANARY).details[0]
    assert "AWS_ACCESS_KEY_ID is not" in refused(tmp_path, AWS_SECRET_ACCESS_KEY=CANARY).details[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVER_ROLE", f"../{CANARY}"),
        ("SERVER_ROLE", f"'{CANARY} x'"),
        ("AWS_REGION", CANARY),
        ("ECR_REGISTRY", f"https://{CANARY}"),
        ("ECR_REGISTRY", f"{CANARY}/"),
        ("ECR_TAG", f"a/{CANARY}"),
        ("CONFIG_BUCKET", f"s3://{CANARY}"),
        ("CONFIG_BUCKET", f"{CANARY}\u2013config"),
        ("CONFIG_BUCKET", f"{CANARY},config"),
        ("CONFIG_BUCKET", "ab"),
        ("CONFIG_BUCKET", CANARY * 30),
        ("CONFIG_BUCKET", f"arn:aws:s3:eu_central_1:123456789012:accesspoint/{CANARY}"),
        ("CONFIG_REF", f"{CANARY}/../x"),
        ("CONFIG_REF", f"/{CANARY}"),
        ("CONFIG_REF", f"{CANARY}\udcff"),
        ("CONFIG_SLUG", f"{CANARY}/x"),
        ("CONFIG_SLUG", f"{CANARY}\udcff"),
        ("DB_MASTER_SECRET_ARN", f"'arn:aws:secretsmanager:<region>:123456789012:secret:{CANARY}'"),
        ("DB_MASTER_SECRET_ARN", f"arn:aws:secretsmanager:eu_central_1:123456789012:secret:{CANARY}"),
        ("DB_MASTER_SECRET_ARN", f"'arn:aws:secretsmanager:eu-central-1 :123456789012:secret:{CANARY}'"),
        ("AWS_ENDPOINT_URL", f"{CANARY}:4566"),
        ("AWS_ENDPOINT_URL_SSM", f"ftp://{CANARY}:4566"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://{CANARY}_x:4566"),
        ("AWS_ENDPOINT_URL_S3", f"http://{CANARY}:65536"),
        ("AWS_ENDPOINT_URL_S3", f"http://[{CANARY}]"),
        ("AWS_ENDPOINT_URL_S3", f"http://{CANARY}{'.abc' * 62}"),
        ("NAMESPACE", f"/{CANARY}"),
        ("NAMESPACE", f"{CANARY}/"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(tmp_path: Path, name: str, value: str) -> None:
    line = [*{**GOOD, name: value}].index(name) + 1

    (fault,) = refused(tmp_path, **{name: value}).details

    assert fault.startswith(f"/opt/deployment/.env:{line}: {name} must be ")


def test_bad_addresses_bad_arns_and_bad_names_are_told_together_each_with_its_line(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        CONFIG_BUCKET=f"{CANARY},x",
        DB_MASTER_SECRET_ARN=f"arn:aws:secretsmanager:eu-1:1:secret:{CANARY}",
        AWS_ENDPOINT_URL=f"{CANARY}:1",
        AWS_ENDPOINT_URL_ECR=f"{CANARY}:1",
        HTTPS_PROXY=f"socks5://{CANARY}",
    )

    assert [line.split(" ")[:2] for line in error.details] == [
        ["/opt/deployment/.env:6:", "CONFIG_BUCKET"],
        ["/opt/deployment/.env:10:", "DB_MASTER_SECRET_ARN"],
        ["/opt/deployment/.env:11:", "AWS_ENDPOINT_URL"],
        ["/opt/deployment/.env:12:", "AWS_ENDPOINT_URL_ECR"],
        ["/opt/deployment/.env:13:", "HTTPS_PROXY"],
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us-gov-west-1"),
        ("AWS_REGION", "eusc-de-east-1"),
        ("ECR_REGISTRY", "localhost:5000"),
        ("ECR_REGISTRY", "registry.internal/delphi"),
        ("NAMESPACE", "delphi"),
        ("CONFIG_REF", "v0.9.12"),
        ("CONFIG_REF", "größer/0.9"),
        ("CONFIG_BUCKET", "My_old.bucket-1"),
        ("CONFIG_BUCKET", "config-ab12cd34ef56gh78ij90kl12mn34op-s3alias"),
        ("CONFIG_BUCKET", "arn:aws:s3:eu-central-1:123456789012:accesspoint/x"),
        ("CONFIG_BUCKET", "arn:aws-cn:s3-outposts:cn-north-1:123456789012:outpost/op-1/accesspoint/x"),
        ("DB_MASTER_SECRET_ARN", "delphi/prod/database"),
        ("DB_MASTER_SECRET_ARN", "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:rds!db-1"),
        ("AWS_ENDPOINT_URL", "HTTP://localhost:4566/"),
        ("AWS_ENDPOINT_URL_S3", "https://bucket.vpce-1a2b.s3.eu-central-1.vpce.amazonaws.com"),
        ("AWS_ENDPOINT_URL_SSM", "http://[fd00::1]:4566"),
        ("AWS_ENDPOINT_URL_SSM", "http://[fe80::1%25eth0]"),
    ],
)
def test_a_value_that_may_be_right_passes(tmp_path: Path, name: str, value: str) -> None:
    assert loaded(tmp_path, **{name: value}).variables[name] == value


def test_keys_are_secrets_and_a_wide_mode_is_warned_about_only_with_keys(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": "token"}

    bootstrap = load(written(tmp_path, {**keys}, 0o644), ".env")

    assert bootstrap.keys is not None
    assert bootstrap.keys.secret_access_key.reveal() == CANARY
    assert bootstrap.keys.session_token is not None
    assert CANARY not in repr(bootstrap)
    assert "chmod 0600" in bootstrap.warnings[0]
    assert load(written(tmp_path, {**keys}, 0o600), ".env").warnings == ()
    assert load(written(tmp_path, {}, 0o644), ".env").warnings == ()


def test_a_session_token_alone_warns(tmp_path: Path) -> None:
    assert "AWS_SESSION_TOKEN" in loaded(tmp_path, AWS_SESSION_TOKEN=CANARY).warnings[0]


def test_its_secrets_are_the_keys_and_the_passwords_of_proxies(tmp_path: Path) -> None:
    bootstrap = loaded(
        tmp_path,
        AWS_ACCESS_KEY_ID="AKIA",
        AWS_SECRET_ACCESS_KEY="hush",
        HTTP_PROXY="http://user:p%40ss@10.0.1.5:3128",
        https_proxy="user:other@10.0.1.5:3128",
        HTTPS_PROXY="http://10.0.1.5:3128",
    )

    assert {secret.reveal() for secret in bootstrap.secrets()} == {
        "AKIA",
        "hush",
        "p%40ss",
        "p@ss",
        "other",
        "user:p%40ss",
        "user:p@ss",
        "user:other",
    }


def test_names_that_steer_the_host_are_named_in_a_warning(tmp_path: Path) -> None:
    warning = loaded(tmp_path, DOCKER_HOST=CANARY, PATH=CANARY, COMPOSE_PROFILES="x", COMPOSE_PROJECT_NAME="y").warnings

    assert len(warning) == 1
    assert "DOCKER_HOST, PATH" in warning[0]
    assert CANARY not in warning[0]
    assert "COMPOSE" not in warning[0]


def test_names_of_the_contract_and_of_applications_do_not_steer_the_host() -> None:
    names = [*REQUIRED, "HTTP_PROXY", "NO_PROXY", "CONFIG_SLUG", "NODE_OPTIONS", "AWS_ACCESS_KEY_ID", "DATABASE_URL"]

    assert not [name for name in names if steers_the_host(name)]
    assert all(
        map(steers_the_host, ["LD_PRELOAD", "HOME", "BASH_ENV", "COMPOSE_FILE", "COMPOSE_PROFILES", "DOCKER_CONFIG"])
    )
