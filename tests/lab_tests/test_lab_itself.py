"""The lab is what it says it is: AWS, the metadata service, the registry and the engine, and no way out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

from tests.lab import registry, world
from tests.lab.aws_model import REGISTRY
from tests.lab.imds import PRIVATE_IP, ROLE
from tests.lab.lab import Lab
from tests.lab_tests.inside import boto3_inside

LOGIN = ("docker", "login", "--username", "AWS", "--password-stdin", REGISTRY)
TOKEN_FROM = "-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"


def curl(lab: Lab, arguments: str) -> str:
    """The status code and the body that curl gets on the instance."""
    return lab.machine.run(["sh", "-c", f"curl -gs -m 3 -w ' %{{http_code}}' {arguments}"]).stdout


def test_aws_answers_under_its_real_names_to_the_role_of_the_instance(instance: Lab) -> None:
    seen = boto3_inside(
        instance,
        """
bucket, path = "delphi-config", "/delphi/prod/api"
objects = client("s3").list_objects_v2(Bucket=bucket, Prefix="deployments/delphi/v1/api/")["Contents"]
show({
    "arn": client("sts").get_caller_identity()["Arn"],
    "keys": [item["Key"].rpartition("/")[2] for item in objects],
    "caddyfile": client("s3").get_object(Bucket=bucket, Key=objects[0]["Key"])["Body"].read().decode(),
    "parameters": {item["Name"].rpartition("/")[2]: item["Value"] for item in client("ssm").get_parameters_by_path(
        Path=path, Recursive=True, WithDecryption=True)["Parameters"]},
    "secret": json.loads(client("secretsmanager").get_secret_value(SecretId="delphi/prod/api/secrets")["SecretString"]),
    "token": client("ecr").get_authorization_token()["authorizationData"][0],
})
""",
    )
    assert seen["arn"] == "arn:aws:sts::123456789012:assumed-role/lab-role/i-0123456789abcdef0"
    assert seen["keys"] == ["Caddyfile", "docker-compose.yaml", "vars.yaml"]
    assert seen["caddyfile"] == (world.BUNDLE / "api/Caddyfile").read_text()
    assert seen["parameters"] == world.PARAMETERS
    assert seen["secret"] == world.SECRETS
    assert seen["token"]["proxyEndpoint"] == f"https://{REGISTRY}"
    assert seen["token"]["expiresAt"] > time.strftime("%Y-%m-%d %H:%M", time.gmtime())


def test_the_journal_has_the_calls_of_the_machine_but_not_those_of_the_test(instance: Lab) -> None:
    instance.aws.client("sts").get_caller_identity()
    boto3_inside(
        instance,
        """
s3, ssm = client("s3"), client("ssm")
s3.list_objects_v2(Bucket="delphi-config", Prefix="deployments/")
s3.head_object(Bucket="delphi-config", Key="deployments/delphi/v1/api/vars.yaml")
s3.get_object(Bucket="delphi-config", Key="deployments/delphi/v1/api/vars.yaml")["Body"].read()
show([ssm.get_parameters_by_path(Path="/delphi/prod/api") and 1 for _ in range(2)])
""",
    )
    calls = instance.aws.calls()
    names = ["s3:ListObjectsV2", "s3:HeadObject", "s3:GetObject", "ssm:GetParametersByPath", "ssm:GetParametersByPath"]
    assert [call.name for call in calls] == names
    assert calls[0].resource == "delphi-config/deployments/"
    assert calls[2].resource == "delphi-config/deployments/delphi/v1/api/vars.yaml"
    assert calls[2].bytes == (world.BUNDLE / "api/vars.yaml").stat().st_size
    assert calls[3].connection == calls[4].connection, "connections are kept alive"


def test_there_is_no_way_out(instance: Lab) -> None:
    began = time.monotonic()
    code = "import socket; socket.create_connection(('192.0.2.1', 443), 5)"
    for _ in range(3):
        done = instance.machine.run(["python3", "-c", code])
        assert "No route to host" in done.stderr
    unknown = instance.machine.run(["python3", "-c", "import socket; socket.getaddrinfo('debian.org', 443)"])
    assert "Temporary failure in name resolution" in unknown.stderr
    assert time.monotonic() - began < 2


def test_nothing_of_the_hosts_environment_gets_in(instance: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the host")
    environment = instance.machine.run(["env"]).stdout
    assert {line.partition("=")[0] for line in environment.splitlines()} == {"PATH"}


def test_metadata_needs_a_token_and_no_proxy(instance: Lab) -> None:
    address = "http://169.254.169.254/latest"
    token = curl(instance, TOKEN_FROM).split()[0]
    header = f"-H 'X-aws-ec2-metadata-token: {token}'"
    assert curl(instance, f"{header} {address}/meta-data/local-ipv4") == f"{PRIVATE_IP} 200"
    role = f"{header} 'http://[fd00:ec2::254]/latest/meta-data/iam/security-credentials/'"
    assert curl(instance, role) == f"{ROLE} 200"
    assert curl(instance, f"{header} {address}/meta-data/nothing").endswith("404")
    assert curl(instance, f"{address}/meta-data/local-ipv4").endswith("401")
    assert curl(instance, f"-H 'X-aws-ec2-metadata-token: x' {address}/meta-data/").endswith("401")
    assert curl(instance, f"{header} -H 'X-Forwarded-For: 10.0.0.1' {address}/meta-data/").endswith("403")
    assert curl(instance, TOKEN_FROM.replace("60", "21601")).endswith("400")
    instance.imds.expire_tokens()
    assert curl(instance, f"{header} {address}/meta-data/").endswith("401")


def test_metadata_can_be_changed_and_broken(instance: Lab) -> None:
    instance.imds.mode("unavailable:2")
    assert [curl(instance, TOKEN_FROM)[-3:] for _ in range(3)] == ["503", "503", "200"]
    instance.imds.mode("forbidden")
    assert curl(instance, TOKEN_FROM).endswith("403")
    instance.imds.mode("hang")
    assert curl(instance, f"-m 0.3 {TOKEN_FROM}").endswith("000")
    instance.imds.stop()
    assert instance.machine.run(["sh", "-c", f"curl -s -m 3 {TOKEN_FROM}"]).returncode == 7, "connection refused"
    instance.imds.start()
    instance.imds.wait_ready()
    instance.imds.mode("ok")
    instance.imds.set("meta-data/local-ipv4", "10.77.0.99")
    token = curl(instance, TOKEN_FROM).split()[0]
    header = f"-H 'X-aws-ec2-metadata-token: {token}'"
    assert curl(instance, f"{header} http://169.254.169.254/latest/meta-data/local-ipv4") == "10.77.0.99 200"
    assert [request.status for request in instance.imds.requests()][:4] == [503, 503, 200, 403]


def test_containers_are_one_hop_too_far_from_the_metadata_service(instance: Lab) -> None:
    instance.machine.run(LOGIN, input=registry.PASSWORD, env={"HOME": "/root"}, check=True)
    # busybox's wget cannot PUT, nor use an address that is not loopback.
    ask = "printf 'PUT /latest/api/token HTTP/1.1\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n'; sleep 1"
    argv = [
        "docker",
        "run",
        "--rm",
        f"{REGISTRY}/app:{world.TAG}",
        "sh",
        "-c",
        f"({ask}) | timeout 2 nc 169.254.169.254 80",
    ]
    refused = instance.machine.run(argv, env={"HOME": "/root"})
    assert "200 OK" not in refused.stdout
    instance.imds.hop_limit(2)
    allowed = instance.machine.run(argv, env={"HOME": "/root"})
    assert "200 OK" in allowed.stdout


def test_the_registry_wants_todays_password(instance: Lab) -> None:
    image = f"{REGISTRY}/app:{world.TAG}"
    instance.engine.forget_images()
    assert "no basic auth credentials" in instance.engine.docker("pull", image, check=False).stderr
    wrong = instance.machine.run(LOGIN, input="wrong", env={"HOME": "/root"})
    assert "401 Unauthorized" in wrong.stderr
    instance.machine.run(LOGIN, input=registry.PASSWORD, env={"HOME": "/root"}, check=True)
    pull = ["docker", "pull", image]
    assert instance.machine.run(pull, env={"HOME": "/root"}).returncode == 0
    instance.registry.set_password("tomorrow's")
    instance.engine.forget_images()
    assert "unauthorized" in instance.machine.run(pull, env={"HOME": "/root"}).stderr


def test_the_example_comes_up_healthy(instance: Lab) -> None:
    instance.machine.run(["cp", "-r", str(world.BUNDLE), "/opt/services"], check=True)
    instance.machine.run(LOGIN, input=registry.PASSWORD, env={"HOME": "/root"}, check=True)
    env = {**instance.world.bootstrap_env(), "HOME": "/root", "DATABASE_URL": "postgresql://lab"}
    compose = ["docker", "compose", "--project-directory", "/opt/services/api"]
    instance.machine.run([*compose, "up", "--detach", "--wait"], env=env, check=True)
    with_health = {item["Names"][0]: item["Status"] for item in instance.engine.containers()}
    assert "healthy" in with_health["/api-telapi-1"]
    assert "Exited (0)" in with_health["/api-migrate-1"]
    assert instance.get(3001, "/health") == "ok\n"
    assert {"DATABASE_URL", "ENVIRONMENT"} <= set(instance.get(3001, "/cgi-bin/env").split())
    began = time.monotonic()
    instance.machine.run([*compose, "down"], env=env, check=True)
    assert time.monotonic() - began < 3, "it stops on SIGTERM"


def test_a_reset_gives_a_fresh_instance(instance: Lab) -> None:
    machine = instance.machine
    hosts = machine.path("/etc/hosts").read_text()
    dirty = "mkdir -p /opt/services/api /run/delphi-agent /etc/docker && echo {} >/etc/docker/daemon.json"
    machine.run(["sh", "-c", f"{dirty}; echo x >>/etc/hosts; rm /etc/debian_version; touch /dev/shm/x"], check=True)
    instance.reset()
    gone = ["/opt/services", "/run/delphi-agent", "/etc/docker/daemon.json", "/dev/shm/x"]
    assert [path for path in gone if machine.path(path).exists()] == []
    assert machine.path("/etc/debian_version").exists()
    assert machine.path("/etc/hosts").read_text() == hosts
    assert os.path.lexists(machine.path(world.BOOTSTRAP_FILE))


def test_what_the_machine_writes_can_be_scanned(instance: Lab) -> None:
    machine = instance.machine
    places = ["/opt/a", "/run/b", "/dev/shm/c", "/var/lib/docker/d"]
    machine.run(["sh", "-c", "; ".join(f"echo CANARY >{place}" for place in places)], check=True)
    found = {file.path for file in machine.written() if file.outside.read_bytes() == b"CANARY\n"}
    assert found == set(places)
    machine.run(["rm", *places], check=True)
