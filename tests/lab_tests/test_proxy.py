"""An instance behind a real Squid: who is asked through it, what the engine is told of it, and how it fails."""

from __future__ import annotations

import contextlib
import re
import stat
import threading
from collections.abc import Iterator

import pytest

from tests.lab.aws_model import BUCKET, REGION, REGISTRY
from tests.lab.lab import Lab
from tests.lab.squid import ADDRESS, Squid
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent
from tests.lab_tests.test_daemon_json import SCRIPT, SYSTEMCTL

NO_PROXY = "localhost,127.0.0.1,10.0.0.0/8"  # the platform's example
PASSWORD = "CANARYproxyPassword9/x:K2"
ENCODED = "CANARYproxyPassword9%2Fx%3AK2"
DROP_IN = "/etc/systemd/system/docker.service.d/delphi-agent-proxy.conf"
ENVIRONMENT = "/etc/delphi-agent/docker-proxy.env"


class Systemd:
    """A `systemctl` that restarts the lab's engine with the environment that the agent's drop-in names."""

    def __init__(self, lab: Lab) -> None:
        self.asked: list[str] = []
        self._lab, self._over = lab, threading.Event()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        path = self._lab.machine.path
        path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        path(SYSTEMCTL).parent.mkdir(parents=True, exist_ok=True)
        path(SYSTEMCTL).write_text(SCRIPT.replace('exit "$code"', 'rm /run/systemctl-answer; exit "$code"'))
        path(SYSTEMCTL).chmod(0o755)
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _serve(self) -> None:
        asked, answer = (self._lab.machine.path(f"/run/systemctl-{name}") for name in ("asked", "answer"))
        while not self._over.wait(0.02):
            if asked.exists():
                self.asked.append(asked.read_text().strip())
                asked.unlink()
                if self.asked[-1].startswith("restart"):
                    self._lab.engine.restart(self._environment())
                answer.with_suffix(".new").write_text("0\n")
                answer.with_suffix(".new").rename(answer)

    def _environment(self) -> dict[str, str]:
        """As systemd reads the file; what stands in the values here needs no unquoting."""
        path = self._lab.machine.path
        if not path(DROP_IN).exists():
            return {}
        named = re.search(r"^EnvironmentFile=-(.*)$", path(DROP_IN).read_text(), re.MULTILINE)
        assert named is not None
        return dict(re.findall(r'^(\w+)="(.*)"$', path(named[1]).read_text(), re.MULTILINE))


@pytest.fixture
def squid(instance: Lab) -> Iterator[Squid]:
    """Squid, and afterwards an engine that knows of none."""
    made = Squid(instance.machine)
    yield made
    made.stop()
    instance.engine.reset()
    instance.engine.restart()


def behind(lab: Lab, address: str = f"http://{ADDRESS}", **changes: str | None) -> None:
    """Write the bootstrap file of an instance with a proxy."""
    proxies = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": NO_PROXY}
    lab.world.write_bootstrap(lab.world.bootstrap_env(**{**proxies, **changes}))


def test_aws_and_the_pull_go_through_the_proxy_and_the_metadata_service_never_does(instance: Lab, squid: Squid) -> None:
    squid.start()
    behind(instance)
    instance.engine.forget_images()
    systemd = Systemd(instance)

    with systemd.at_work():
        done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert systemd.asked == ["daemon-reload", "restart docker.service"], "once, for the log limits too"
    assert reports.steps(done.stderr)["engine-proxy"] == f"{ADDRESS} handed over, the engine was restarted"
    for host in (f"{BUCKET}.s3", "ssm", "secretsmanager", "api.ecr"):
        assert squid.log(f"CONNECT {host}.{REGION}.amazonaws.com:443"), host
    assert squid.log(f"CONNECT {REGISTRY}:443"), "the engine pulled through it"
    assert squid.log("169.254") + squid.log("fd00") == []
    assert instance.imds.requests(), "it was asked"
    info = instance.engine.docker("info", "--format", "{{.HTTPSProxy}} {{.NoProxy}}").stdout
    assert info.startswith(f"http://{ADDRESS} 169.254.169.254,")
    assert "10.0.0.0/8" in info


def test_a_rerun_changes_nothing_and_without_a_proxy_the_engine_loses_it_once_nothing_runs(
    instance: Lab, squid: Squid
) -> None:
    squid.start()
    behind(instance)
    with Systemd(instance).at_work():
        assert instance.agent("init").returncode == 0
    before = instance.machine.path(ENVIRONMENT).stat().st_mtime_ns

    second = instance.agent("init")
    assert reports.steps(second.stderr)["engine-proxy"] == ADDRESS
    assert instance.machine.path(ENVIRONMENT).stat().st_mtime_ns == before

    instance.world.write_bootstrap()
    with Systemd(instance).at_work():
        third = instance.agent("init")
    taken = "taken back, the bootstrap file has none"
    assert third.returncode == 0, third.stderr
    pending = "pending a restart of the Docker engine (1 container running)"
    assert reports.steps(third.stderr)["engine-proxy"] == f"{taken}, {pending}"
    assert not instance.machine.path(DROP_IN).exists()
    assert not instance.machine.path(ENVIRONMENT).exists()
    warnings = [event["text"] for event in reports.events(third.stderr) if event["event"] == "engine.proxy-differs"]
    with Systemd(instance).at_work():
        instance.engine.docker("rm", "--force", "api-telapi-1")
        fourth = instance.agent("init")
    assert reports.steps(fourth.stderr)["engine-proxy"] == f"{taken}, the engine was restarted"
    assert "engine-proxy" not in reports.steps(instance.agent("init").stderr)
    assert warnings == [f"the engine pulls with other proxy settings than the bootstrap file's: {pending}"]


def test_an_operator_s_own_proxy_for_the_engine_is_left_alone(instance: Lab, squid: Squid) -> None:
    squid.start()
    behind(instance)
    own = instance.machine.path("/etc/systemd/system/docker.service.d/http-proxy.conf")
    own.parent.mkdir(parents=True)
    own.write_text('[Service]\nEnvironment="HTTPS_PROXY=http://10.0.9.9:3128"\n')

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    said = "left alone: /etc/systemd/system/docker.service.d/http-proxy.conf sets one"
    assert reports.steps(done.stderr)["engine-proxy"].startswith(said)
    assert not instance.machine.path(DROP_IN).exists()


def test_the_password_of_the_proxy_is_nowhere_but_where_it_has_to_be(instance: Lab, squid: Squid) -> None:
    squid.start("delphi", PASSWORD)
    behind(instance, f"http://delphi:{ENCODED}@{ADDRESS}")
    instance.engine.forget_images()

    with Systemd(instance).at_work():
        run = traced_agent(instance, "--log-level", "debug", "init")

    assert run.code == 0, run.stderr
    assert squid.log(f"CONNECT {REGISTRY}:443"), "the engine has the password"
    assert leaks(instance, {"proxy": PASSWORD, "encoded": ENCODED, "pair": f"delphi:{PASSWORD}"}, run) == []
    assert stat.S_IMODE(instance.machine.path(ENVIRONMENT).stat().st_mode) == 0o600
    assert ENCODED not in instance.machine.path(DROP_IN).read_text()


def test_a_wrong_password_of_the_proxy_is_told_at_once_and_names_the_proxy(instance: Lab, squid: Squid) -> None:
    squid.start("delphi", PASSWORD)
    behind(instance, f"http://delphi:CANARYwrongPassword1@{ADDRESS}")

    done = instance.agent("init")

    assert done.returncode == 77, done.stderr
    assert f"the proxy {ADDRESS} wants another user and password (407)" in reports.errors(done.stderr)[0]["cause"]
    assert "CANARYwrong" not in done.stderr
    assert reports.finished(done.stderr)["retries"] == 0


def test_a_proxy_that_forbids_is_told_as_one_and_not_as_aws(instance: Lab, squid: Squid) -> None:
    squid.start(rules="http_access deny all\n")
    behind(instance)

    done = instance.agent("init")

    assert done.returncode == 77, done.stderr
    assert f"the proxy {ADDRESS} does not let this host connect (403)" in reports.errors(done.stderr)[0]["cause"]


def test_a_proxy_that_is_down_is_named_and_not_aws(instance: Lab) -> None:
    behind(instance)

    done = instance.agent("init", "--deadline", "6")

    assert done.returncode == 69, done.stderr
    causes = [error["cause"] for error in reports.errors(done.stderr)]
    assert f"the proxy {ADDRESS} does not answer: Connection refused" in causes
    assert "start the proxy (Squid)" in reports.errors(done.stderr)[0]["next_step"]


@pytest.mark.parametrize("address", ["socks5://10.0.1.5:1080", "http://:3128", "http://u:CANARYsecret77@h:99999"])
def test_an_address_that_is_no_proxy_s_ends_the_run_with_the_name_of_its_variable(instance: Lab, address: str) -> None:
    behind(instance, address)

    done = instance.agent("init")

    assert done.returncode == 78, done.stderr
    assert "HTTP_PROXY" in reports.whole(reports.errors(done.stderr)[0])
    assert "CANARYsecret77" not in done.stderr
