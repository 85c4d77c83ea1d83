"""`delphi-agent init` on a fresh instance and again, in the lab: no endpoint override, no test switch."""

from __future__ import annotations

import collections
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

from tests.lab.aws import Fault
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import NAMESPACE, REF, ROLE, TAG, canaries
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced, traced_agent

SERVICES = "/opt/services"
STATIC_KEYS = {"AWS_ACCESS_KEY_ID": "AKIALABSTATIC0000001", "AWS_SECRET_ACCESS_KEY": "CANARYstaticSecretKey4tG7uJ2"}

PEM = (
    "-----BEGIN CERTIFICATE-----\n"
    + "\n".join("QUJDREVGR0hJSktMTU5PUFFSU1RVVldY" * 2 for _ in range(64))
    + "\n-----END CERTIFICATE-----\n"
)
AWKWARD = {
    "V_DOLLAR": "a$b ${HOME} $$ $(id) `id`",
    "V_HASH": "x #y # z",
    "V_QUOTES": "'single' \"double\" '\"'",
    "V_BACKSLASH": "\\n \\\\ \\t end\\",
    "V_SPACES": "two  spaces and a trailing one ",
    "V_EQUALS": "a=b=c==",
    "V_NEWLINE": "first\nsecond\n\nfourth",
    "V_UTF8": "Grüße, 東京, 🚀",
    "V_PEM": PEM,
    "V_BRACES": "{a,b} [c] *?~!&|;<>()",
    "V_PERCENT": "%s %20 100%",
}
AWKWARD_COMPOSE = """services:
  telapi:
    image: ${ECR_REGISTRY}/app:${ECR_TAG}
    restart: unless-stopped
    init: true
    environment:
      PLAIN: plain
      FROM_BOOTSTRAP: ${NAMESPACE}
""" + "".join(f"      {name}:\n      COPY_{name}: ${{{name}}}\n" for name in AWKWARD)


def container_environment(lab: Lab, name: str) -> dict[str, str]:
    """What the container's main process was given, read from inside it."""
    raw = lab.engine.docker("exec", name, "cat", "/proc/1/environ").stdout
    return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)


def container_ids(lab: Lab) -> dict[str, str]:
    return {item["Names"][0]: item["Id"] for item in lab.engine.containers()}


def test_init_on_a_fresh_instance_ends_with_every_service_seen_healthy(instance: Lab) -> None:
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    end = reports.finished(done.stderr)
    assert end["outcome"] == "verified"
    assert end["services"] == {"migrate": "done", "telapi": "healthy"}
    assert instance.get(3001, "/health") == "ok\n"
    assert "DATABASE_URL" in instance.get(3001, "/cgi-bin/env").split()
    files = {
        name: instance.machine.path(f"{SERVICES}/{name}")
        for name in ("api/Caddyfile", "common/otel-collector-config.yaml")
    }
    assert all(path.is_file() for path in files.values())
    assert instance.machine.path(f"{SERVICES}/{ROLE}/.ecr-tag").read_text() == f"{TAG}\n"
    assert not instance.machine.path(f"{SERVICES}/{ROLE}/.env").exists()
    assert not instance.machine.path(f"{SERVICES}/.delphi-agent-staging").exists()
    assert not instance.machine.path("/run/delphi-agent/docker").exists()
    daemon = json.loads(instance.machine.path("/etc/docker/daemon.json").read_text())
    assert daemon["log-opts"]["max-size"] == "10m"


def test_the_container_gets_exactly_what_the_contract_says_byte_for_byte(instance: Lab) -> None:
    world = instance.world
    variables = "".join(f"  - {{name: {name}, required: true}}\n" for name in AWKWARD)
    world.upload_bundle(
        changes={"api/docker-compose.yaml": AWKWARD_COMPOSE, "api/vars.yaml": f"service: api\nvariables:\n{variables}"}
    )
    in_secret = {"V_PEM", "V_NEWLINE", "V_QUOTES"}
    for name, value in AWKWARD.items():
        if name not in in_secret:
            world.put_parameter(name, value)
    world.put_secret(f"{NAMESPACE}/{ROLE}/secrets", {name: AWKWARD[name] for name in in_secret})

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert len(PEM) >= 4096
    given = container_environment(instance, "api-telapi-1")
    expected = {
        **AWKWARD,
        **{f"COPY_{name}": value for name, value in AWKWARD.items()},
        "PLAIN": "plain",
        "FROM_BOOTSTRAP": NAMESPACE,
    }
    assert {name: given.get(name) for name in expected} == expected
    assert set(given) - set(expected) <= {"PATH", "HOSTNAME", "HOME"}


def test_the_example_role_resolves_from_every_source_as_the_contract_says(instance: Lab) -> None:
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    given = container_environment(instance, "api-telapi-1")
    expected = {
        "ENVIRONMENT": "prod",  # bootstrap, local
        "LOG_LEVEL": "debug",  # SSM over the default
        "PRIVATE_IP": "10.77.0.10",  # detected from IMDS
        "OTEL_BACKEND_HOST": "10.0.1.10",
        "AUTH_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
        "AUTH_CLIENT_SECRET": "CANARYauthClientSecret8hJ1",
        "JWT_SIGNING_KEY": "CANARYjwtSigningKey'\"$5rW6",
        "LICENSE_KEY": "CANARYlicenseKey-1cV8",  # a secret that is one string
        "DATABASE_PASSWORD": "CANARYdatabasePassword6yD4",  # external, JSON
        "DATABASE_URL": "postgresql://delphi_admin:CANARYdatabasePassword6yD4@10.0.1.30/app",
        "REDIS_URL": "redis://:CANARYredisPassword%3A%2F%40%232bN9@10.0.1.20:6379/0",  # URL-encoded template
    }
    assert {name: given.get(name) for name in expected} == expected


def test_a_second_init_recreates_nothing_downloads_nothing_and_says_so(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    before = container_ids(instance)
    instance.aws.clear_calls()

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert container_ids(instance) == before
    fetched = [call.resource for call in instance.aws.calls("s3:GetObject")]
    assert [name for name in fetched if not name.endswith("vars.yaml")] == []
    end = reports.finished(done.stderr)
    assert end["outcome"] == "unchanged"
    assert "nothing changed, nothing was started" in end["text"]
    assert "none changed, none downloaded" in reports.steps(done.stderr)["bundle"]


def test_one_shots_do_not_run_again_when_nothing_changed(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    first = instance.engine.docker("inspect", "-f", "{{.State.StartedAt}}", "api-migrate-1").stdout

    assert instance.agent("init").returncode == 0

    assert instance.engine.docker("inspect", "-f", "{{.State.StartedAt}}", "api-migrate-1").stdout == first


def test_a_changed_mounted_file_recreates_the_service_that_mounts_it(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    before = container_ids(instance)
    caddyfile = instance.machine.path(f"{SERVICES}/api/Caddyfile").read_text()
    # The same length: what `aws s3 sync` would not see.
    instance.world.put_file("api/Caddyfile", caddyfile.replace("a", "b"))

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    after = container_ids(instance)
    assert after["/api-telapi-1"] != before["/api-telapi-1"]
    assert after["/api-migrate-1"] == before["/api-migrate-1"]
    shown = instance.engine.docker("exec", "api-telapi-1", "cat", "/etc/caddy/Caddyfile").stdout
    assert shown == caddyfile.replace("a", "b")


def test_a_changed_parameter_recreates_the_service_that_uses_it(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    before = container_ids(instance)
    instance.world.put_parameter("LOG_LEVEL", "warning")

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    after = container_ids(instance)
    assert {name for name in after if after[name] != before[name]} == {"/api-telapi-1"}
    assert container_environment(instance, "api-telapi-1")["LOG_LEVEL"] == "warning"


def test_a_file_that_the_new_bundle_lacks_goes_and_host_files_beside_it_stay(instance: Lab) -> None:
    instance.world.put_file("api/old/extra.conf", "old")
    assert instance.agent("init").returncode == 0
    host_file = instance.machine.path(f"{SERVICES}/api/tls/own.pem")
    host_file.parent.mkdir()
    host_file.write_text("the host's own")
    instance.world.delete_file("api/old/extra.conf")

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert not instance.machine.path(f"{SERVICES}/api/old").exists()
    assert host_file.read_text() == "the host's own"


def test_static_keys_work_without_one_question_to_imds(instance: Lab) -> None:
    world = instance.world
    world.write_bootstrap(world.bootstrap_env(**STATIC_KEYS))

    done = traced_agent(instance, "init")

    assert done.code == 0, done.stderr
    assert instance.imds.requests() == []
    secrets = {**canaries(), "AWS secret key": STATIC_KEYS["AWS_SECRET_ACCESS_KEY"]}
    assert leaks(instance, secrets, done) == []


def test_no_secret_is_left_on_disk_in_output_or_in_the_arguments_of_a_child(instance: Lab) -> None:
    done = traced_agent(instance, "--log-level", "debug", "init")

    assert done.code == 0, done.stderr
    assert any("docker-compose" in line for line in done.execs), "the trace must show the children"
    assert leaks(instance, canaries(), done) == []
    again = traced_agent(instance, "--log-level", "debug", "init", "--restart-only")
    assert again.code == 0, again.stderr
    assert leaks(instance, canaries(), again) == []


def test_a_planted_leak_is_found_by_the_same_search(instance: Lab) -> None:
    canary = canaries()["JWT_SIGNING_KEY"]
    plant = 'mkdir -p /var/tmp/x; printf "%s" "$C" >/var/tmp/x/file; printf "%s" "$C" >/run/leak'
    script = f'{plant}; /bin/true "$C"; echo "$C"; echo "$C" >&2'

    done = traced(instance, ["sh", "-c", script], env={"C": canary})

    found = leaks(instance, {"JWT_SIGNING_KEY": canary}, done)
    assert found == [
        "JWT_SIGNING_KEY in /run/leak",
        "JWT_SIGNING_KEY in /var/tmp/x/file",
        "JWT_SIGNING_KEY in arguments of a child",
        "JWT_SIGNING_KEY in standard error",
        "JWT_SIGNING_KEY in standard output",
    ]


def test_restart_only_recreates_every_container_without_pulling(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    before = container_ids(instance)
    instance.aws.clear_calls()
    instance.registry.stop()

    done = instance.agent("init", "--restart-only")

    assert done.returncode == 0, done.stderr
    after = container_ids(instance)
    assert all(after[name] != before[name] for name in before)
    assert instance.aws.calls("ecr:GetAuthorizationToken") == []


def test_skip_fetch_uses_the_bundle_on_the_host(instance: Lab) -> None:
    assert instance.agent("init").returncode == 0
    instance.world.put_file("api/Caddyfile", "changed in the bucket")
    instance.aws.clear_calls()

    done = instance.agent("init", "--skip-fetch")

    assert done.returncode == 0, done.stderr
    assert [call for call in instance.aws.calls() if call.service == "s3"] == []
    assert reports.finished(done.stderr)["outcome"] == "unchanged"


def test_a_left_over_env_file_is_removed_before_the_services_start(instance: Lab) -> None:
    left_over = instance.machine.path(f"{SERVICES}/{ROLE}/.env")
    left_over.parent.mkdir(parents=True)
    left_over.write_text("LOG_LEVEL=from-the-left-over\n")

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert not left_over.exists()
    assert container_environment(instance, "api-telapi-1")["LOG_LEVEL"] == "debug"


def test_two_runs_never_meet(instance: Lab) -> None:
    instance.imds.mode("hang")
    argv = [*instance.agent_command(), "init", "--deadline", "30"]
    first = instance.machine.start_process(argv, env=instance.agent_env())
    status = instance.machine.path("/run/delphi-agent/status.json")
    wait_until(status.exists, "the first run's status file")

    second = instance.agent("init")

    first.signal(15)
    assert second.returncode == 73
    [error] = reports.errors(second.stderr)
    assert "delphi-agent init --deadline 30" in error["cause"]
    assert first.wait(10) == 143
    assert json.loads(status.read_text())["outcome"] == "interrupted"


def test_the_status_shows_steps_calls_and_bytes_and_the_timeline_draws_them(instance: Lab) -> None:
    assert instance.agent("status").returncode == 69
    assert instance.agent("timeline").returncode == 69
    instance.engine.forget_images()
    instance.aws.add_fault(Fault("ssm:GetParametersByPath", status=400, code="ThrottlingException", times=1))
    assert instance.agent("init").returncode == 0

    shown, as_json = instance.agent("status"), instance.agent("status", "--json")

    assert shown.returncode == as_json.returncode == 0
    document = json.loads(as_json.stdout)
    assert document["schema"] == 1
    assert document["ready"] is True
    assert document["release"]["ref"] == REF
    by_name = {step["name"]: step for step in document["steps"]}
    assert by_name["bundle"]["calls"] >= 3
    assert by_name["bundle"]["received"] > 100
    assert all(step["seconds"] is not None for step in document["steps"])
    # botocore's own requests are all there are: of an image that is not on the host no tag is asked for.
    assert document["totals"]["calls"] == len(instance.aws.calls())
    assert "verified" in shown.stdout
    assert "telapi" in shown.stdout
    timeline_shows(instance, document["spans"])


def timeline_shows(lab: Lab, spans: list[dict[str, Any]]) -> None:
    """Every call that AWS saw, the image, what was run, and the service from its start until it was seen healthy."""
    calls = collections.Counter[str]()
    for span in spans:
        if span["kind"] == "aws":
            calls[span["name"]] += span["attempts"]
    assert calls == collections.Counter(call.name for call in lab.aws.calls())
    assert [span["error"] for span in spans if span["error"]] == []
    (image,) = [span for span in spans if span["kind"] == "image"]
    assert image["name"].endswith(f"/app:{TAG}")
    assert image["seconds"] > 0
    by_name = {span["name"]: span for span in spans}
    assert by_name["telapi"]["kind"] == by_name["migrate"]["kind"] == "service"
    assert by_name["telapi"]["seconds"] > 0.1
    assert {"token", "docker compose config", "docker compose up"} <= set(by_name)
    drawn, picture = lab.agent("timeline"), lab.agent("timeline", "--svg")
    assert drawn.returncode == picture.returncode == 0
    assert drawn.stdout.isascii()
    assert re.search(r"ssm:GetParametersByPath +0\.\d\d s|ssm:GetParametersByPath +\d\.\d s", drawn.stdout)
    assert "1 retry" in drawn.stdout
    titles = [item.text or "" for item in ET.fromstring(picture.stdout).iter("{http://www.w3.org/2000/svg}title")]
    assert [title for title in titles if title.startswith("service telapi: ")] != []
    assert not [value for value in canaries().values() if any(value in text for text in (drawn.stdout, picture.stdout))]


def test_two_slugs_that_fit_need_a_choice_and_one_is_found(instance: Lab) -> None:
    world = instance.world
    world.write_bootstrap(world.bootstrap_env(CONFIG_SLUG=None))

    found = instance.agent("init")

    assert found.returncode == 0, found.stderr
    assert any("CONFIG_SLUG" in event.get("text", "") for event in reports.events(found.stderr))
    client = instance.aws.client("s3")
    client.put_object(Bucket="delphi-config", Key="deployments/other/v1/api/vars.yaml", Body=b"service: api\n")
    ambiguous = instance.agent("init")
    assert ambiguous.returncode == 65
    assert "delphi, other" in reports.whole(reports.errors(ambiguous.stderr)[0])
    assert instance.agent("init", "--slug", "delphi").returncode == 0


def on_a_terminal(lab: Lab, command: str, **env: str) -> str:
    """What a person at a terminal of 110 columns sees of a command."""
    shell = f"stty cols 110; {' '.join(lab.agent_command())} {command}"
    surroundings = {**lab.agent_env(), "TERM": "xterm", "LANG": "C.UTF-8", **env}
    return lab.machine.run(["script", "-qec", shell, "/dev/null"], env=surroundings).stdout


def test_a_terminal_shows_each_step_as_it_goes_and_a_summary(instance: Lab) -> None:
    shown = on_a_terminal(instance, "init")

    assert "\x1b[1A\x1b[J" in shown, "running steps are redrawn in place"
    assert "waiting for telapi (starting)" in shown
    assert "\x1b[32mverified\x1b[0m: release 1 (v1, tag 1.4.2)" in shown
    assert "telapi          \x1b[32mhealthy" in shown


def test_no_color_is_honoured_on_a_terminal(instance: Lab) -> None:
    shown = on_a_terminal(instance, "init", NO_COLOR="1")

    assert "verified: release 1" in shown
    assert re.findall(r"\x1b\[[0-9;]*m", shown) == []


def test_sigterm_before_the_apply_point_changes_nothing_and_says_so(instance: Lab) -> None:
    instance.aws.add_fault(Fault("s3:GetObject .*/Caddyfile", kind="hang"))
    argv = [*instance.agent_command(), "init"]
    running = instance.machine.start_process(argv, env=instance.agent_env())
    wait_until(lambda: '"bundle"' in running.stderr(), "the sync of the bundle")

    running.signal(15)

    assert running.wait(10) == 143
    assert "stopped by SIGTERM; nothing was changed" in reports.finished(running.stderr())["text"]
    assert not instance.machine.path(f"{SERVICES}/{ROLE}").exists()
    assert not instance.machine.path("/run/delphi-agent/docker").exists()
    assert instance.agent("init").returncode == 0


def test_a_run_that_was_killed_is_shown_as_died_and_its_lock_is_free(instance: Lab) -> None:
    instance.imds.mode("hang")
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: '"identity"' in running.stderr(), "the wait for IMDS")

    running.signal(9)
    running.wait(10)

    status = instance.agent("status")
    assert status.returncode == 69
    assert status.stdout.startswith("died:")
    instance.imds.mode("ok")
    assert instance.agent("init").returncode == 0
