"""The commands that ask and the commands that run something with the resolved environment, on an instance."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import canaries
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance after its first boot."""
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def test_the_shells_that_env_promises_to_work_with_are_all_here() -> None:
    assert all(shutil.which(shell) for shell in ("bash", "dash", "busybox"))


def test_env_prints_what_compose_gets_and_diagnostics_go_elsewhere(deployed: Lab) -> None:
    done = deployed.agent("env", "--format", "json")

    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert document["schema"] == 1
    assert document["variables"]["DATABASE_URL"] == "postgresql://delphi_admin:CANARYdatabasePassword6yD4@10.0.1.30/app"
    assert document["variables"]["ECR_TAG"] == "1.4.2"
    assert "AWS_ACCESS_KEY_ID" not in document["variables"]


def test_env_tells_what_the_values_have_cost_when_asked_to(deployed: Lab) -> None:
    done = deployed.agent("--log-level", "info", "env", "--format", "table")

    assert re.fullmatch(r"19 variables, 3 calls, \d+ ms", reports.steps(done.stderr)["resolve"])


def test_env_output_is_a_file_that_only_root_can_read(deployed: Lab) -> None:
    done = deployed.agent("env", "--format", "export", "--output", "/root/env.sh")

    file = deployed.machine.path("/root/env.sh")
    assert (done.returncode, done.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "export JWT_SIGNING_KEY='CANARYjwtSigningKey'\\''\"$5rW6'" in file.read_text()


def test_the_old_fetch_env_command_line_works(deployed: Lab) -> None:
    script = Path(deployed.agent_command()[0]).with_name("fetch-env.sh")
    words = ["--manifest", "/opt/services/api/vars.yaml", "--bootstrap", "/opt/deployment/.env", "--format", "export"]

    done = deployed.machine.run(["bash", "-c", f'eval "$({script} {" ".join(words)})"; echo "$LOG_LEVEL $REDIS_PORT"'])

    assert (done.stdout, done.stderr) == ("debug 6379\n", "")


def test_explain_says_where_a_value_comes_from_and_why_it_is_required_but_never_the_value(deployed: Lab) -> None:
    password = traced_agent(deployed, "explain", "DATABASE_PASSWORD")
    client = deployed.agent("explain", "AUTH_CLIENT_ID")

    assert password.code == client.returncode == 0
    assert "value from  external secret of DB_MASTER_SECRET_ARN, key password" in password.stdout
    assert "required    required" in password.stdout
    assert "required, since AUTH_WITH_MICROSOFT=" in client.stdout
    assert leaks(deployed, canaries(), password) == []


def test_explain_of_a_name_that_nobody_declares_names_the_nearest(deployed: Lab) -> None:
    done = deployed.agent("explain", "REDIS_HOSTT")

    assert done.returncode == 2
    assert "did you mean REDIS_HOST?" in reports.errors(done.stderr)[0]["cause"]


def test_plan_names_what_changed_since_the_release_and_changes_nothing(deployed: Lab) -> None:
    before = [item["Id"] for item in deployed.engine.containers()]
    nothing = deployed.agent("plan", "--exit-code")
    deployed.world.put_parameter("LOG_LEVEL", "warning")
    deployed.world.put_file("api/Caddyfile", "changed")

    done = traced_agent(deployed, "plan", "--exit-code")

    assert (nothing.returncode, nothing.stdout.splitlines()[0]) == (0, "nothing would change")
    assert done.code == 3
    assert "changed  api/Caddyfile" in done.stdout
    assert "changed  LOG_LEVEL  (SSM /delphi/prod/api/LOG_LEVEL)" in done.stdout
    assert [item["Id"] for item in deployed.engine.containers()] == before
    assert deployed.machine.path("/opt/services/api/Caddyfile").read_text() != "changed"
    assert leaks(deployed, canaries(), done) == []


def test_exec_replaces_its_process_so_exit_code_and_signals_are_the_childs(deployed: Lab) -> None:
    exits = deployed.agent("exec", "--", "sh", "-c", 'test "$REDIS_PORT" = 6379 && exit 42')
    missing = deployed.agent("exec", "--", "no-such-command")
    forbidden = deployed.agent("exec", "--", "/etc/passwd")
    argv = [*deployed.agent_command(), "exec", "--", "sleep", "100"]
    running = deployed.machine.start_process(argv, env=deployed.agent_env())
    wait_until(lambda: b"sleep\x00100" in _command_line(running.pid), "the command to take the agent's place")

    running.signal(15)

    assert exits.returncode == 42
    assert (missing.returncode, forbidden.returncode) == (127, 126)
    assert running.wait(5) in {-15, 143}


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_compose_works_on_the_project_with_values_labels_and_the_deployed_tag(deployed: Lab) -> None:
    before = {item["Id"] for item in deployed.engine.containers()}
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="not-deployed"))

    listed = deployed.agent("compose", "ps", "--format", "json")
    upped = deployed.agent("compose", "up", "-d")
    failed = deployed.agent("compose", "exec", "-T", "telapi", "sh", "-c", "exit 7")

    assert listed.returncode == 0, listed.stderr
    assert "telapi" in listed.stdout
    assert upped.returncode == 0, upped.stderr
    assert {item["Id"] for item in deployed.engine.containers()} == before, "nothing changed, nothing is recreated"
    assert failed.returncode == 7
    left = [path.name for path in deployed.machine.path("/run/delphi-agent").iterdir()]
    assert [name for name in left if name.startswith("compose-")] == []


def test_compose_refuses_when_a_variable_of_the_compose_file_has_no_value_and_names_it(deployed: Lab) -> None:
    file = deployed.machine.path("/opt/services/api/docker-compose.yaml")
    file.write_text(file.read_text().replace("- LOG_LEVEL", "- LOG_LEVEL\n      - X=${NOT_DECLARED_ANYWHERE}"))

    done = deployed.agent("compose", "up", "-d")

    assert done.returncode == 66
    assert "NOT_DECLARED_ANYWHERE" in reports.whole(reports.errors(done.stderr)[0])
