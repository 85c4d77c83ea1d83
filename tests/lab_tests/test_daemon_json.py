"""The engine's log limits on a whole instance: what is written, when the engine is restarted, what is told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest

from tests.lab.engine import DAEMON_JSON
from tests.lab.lab import Lab
from tests.lab_tests import reports

SYSTEMCTL = "/usr/local/sbin/systemctl"
# It asks the test, which has the engine in hand, and answers what the test says.
SCRIPT = """#!/bin/sh
echo "$*" >/run/systemctl-asked.new && mv /run/systemctl-asked.new /run/systemctl-asked
while [ ! -e /run/systemctl-answer ]; do sleep 0.02; done
code=$(cat /run/systemctl-answer)
[ "$code" = 0 ] || echo "Job for docker.service failed." >&2
exit "$code"
"""


class Systemd:
    """A `systemctl` on the instance that restarts the lab's engine, or fails, and what it was asked."""

    def __init__(self, lab: Lab, *, code: int = 0, back: bool = True) -> None:
        self.asked: list[str] = []
        self._lab, self._code, self._back = lab, code, back
        self._over = threading.Event()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        path = self._lab.machine.path
        path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
        path(SYSTEMCTL).parent.mkdir(parents=True, exist_ok=True)
        path(SYSTEMCTL).write_text(SCRIPT)
        path(SYSTEMCTL).chmod(0o755)
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _serve(self) -> None:
        asked = self._lab.machine.path("/run/systemctl-asked")
        while not self._over.wait(0.02):
            if asked.exists():
                self.asked.append(asked.read_text().strip())
                asked.unlink()
                if not self._back:
                    self._lab.engine.stop()
                elif self._code == 0:
                    self._lab.engine.restart()
                self._lab.machine.path("/run/systemctl-answer").write_text(f"{self._code}\n")
                return


def log_config(lab: Lab, container: str = "api-telapi-1") -> dict[str, object]:
    shown = lab.engine.docker("inspect", "--format", "{{json .HostConfig.LogConfig}}", container).stdout
    config: dict[str, object] = json.loads(shown)
    return config


def settings(lab: Lab) -> dict[str, object]:
    config: dict[str, object] = json.loads(lab.machine.path(DAEMON_JSON).read_text())
    return config


def write(lab: Lab, content: str) -> None:
    path = lab.machine.path(DAEMON_JSON)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_on_a_first_boot_the_engine_is_restarted_and_the_containers_have_limits(instance: Lab) -> None:
    write(instance, '{"max-concurrent-downloads": 4}')
    systemd = Systemd(instance)
    with systemd.at_work():
        done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert systemd.asked == ["restart docker.service"]
    assert reports.steps(done.stderr)["log-rotation"] == "max-size set to 10m, the engine was restarted"
    assert settings(instance) == {
        "max-concurrent-downloads": 4,
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
    }
    assert log_config(instance) == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def test_the_engine_is_not_restarted_under_somebody_s_container_until_that_is_gone(instance: Lab) -> None:
    first = instance.agent("init")
    assert first.returncode == 0, first.stderr
    assert reports.steps(first.stderr)["log-rotation"].endswith("(there is no systemd to ask for it)")
    with Systemd(instance).at_work():
        second = instance.agent("init")
        pending = "pending a restart of the Docker engine (1 container running)"
        assert reports.steps(second.stderr)["log-rotation"] == f"max-size 10m, {pending}"
    assert log_config(instance) == {"Type": "json-file", "Config": {}}

    instance.engine.docker("rm", "--force", "api-telapi-1")
    with Systemd(instance).at_work():
        third = instance.agent("init")

    assert third.returncode == 0, third.stderr
    assert reports.steps(third.stderr)["log-rotation"] == "max-size 10m, the engine was restarted"
    fourth = instance.agent("init")
    assert reports.steps(fourth.stderr)["log-rotation"] == "max-size 10m"


def test_a_restart_that_fails_leaves_an_engine_that_runs_and_is_a_warning(instance: Lab) -> None:
    with Systemd(instance, code=1).at_work():
        done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert "systemd could not do it" in reports.steps(done.stderr)["log-rotation"]
    said = [event["text"] for event in reports.events(done.stderr) if event["event"] == "engine.restart-failed"]
    assert "Job for docker.service failed." in said[0]


def test_an_engine_that_does_not_come_back_is_told_with_the_file_and_where_to_look(instance: Lab) -> None:
    with Systemd(instance, code=1, back=False).at_work():
        done = instance.agent("init")

    assert done.returncode == 69, done.stderr
    error = reports.errors(done.stderr)[0]
    assert error["doing"] == f"restarting the Docker engine, so that it reads {DAEMON_JSON}"
    assert "Job for docker.service failed." in error["details"]
    assert "journalctl -u docker" in error["next_step"]


def test_a_file_that_is_no_json_is_refused_and_stays_as_it_is(instance: Lab) -> None:
    # The engine has read the file when it started; somebody has broken it since.
    write(instance, '{"bip": "10.0.0.1/24",}')

    done = instance.agent("init")

    assert done.returncode == 74, done.stderr
    assert f"reading {DAEMON_JSON}: invalid JSON" in reports.whole(reports.errors(done.stderr)[0])
    assert instance.machine.path(DAEMON_JSON).read_text() == '{"bip": "10.0.0.1/24",}'
    assert "nothing was changed" in reports.finished(done.stderr)["text"]


@pytest.mark.parametrize(
    ("options", "fill", "said"),
    [("ro", "true", "Read-only file system"), ("size=4k", "head -c 4096 /dev/zero >/etc/docker/fill", "No space left")],
)
def test_a_file_system_that_takes_nothing_is_told_with_the_path(
    instance: Lab, options: str, fill: str, said: str
) -> None:
    run = instance.machine.run
    run(["mkdir", "-p", "/etc/docker"], check=True)
    run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/etc/docker"], check=True)
    try:
        run(["sh", "-c", fill], check=True)
        done = instance.agent("init")
    finally:
        run(["umount", "/etc/docker"], check=True)

    assert done.returncode == 74, done.stderr
    error = reports.errors(done.stderr)[0]
    assert error["doing"] == f"writing {DAEMON_JSON}"
    assert said in error["cause"]


def test_a_link_stays_and_its_target_is_written(instance: Lab) -> None:
    run = instance.machine.run
    run(
        [
            "sh",
            "-c",
            f"mkdir -p /etc/docker /srv/conf && echo '{{}}' >/srv/conf/d.json && ln -s /srv/conf/d.json {DAEMON_JSON}",
        ],
        check=True,
    )

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert run(["readlink", DAEMON_JSON]).stdout == "/srv/conf/d.json\n"
    assert "max-size" in instance.machine.path("/srv/conf/d.json").read_text()
    run(["rm", DAEMON_JSON], check=True)
