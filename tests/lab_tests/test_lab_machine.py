"""A machine's processes can be handled like local ones, and nothing is left of it, however its owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.lab import world
from tests.lab.aws_model import REGISTRY
from tests.lab.host import CHECKOUT
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.process import LabError, wait_until
from tests.lab.registry import PASSWORD

OWNER = """
import signal
from tests.lab import world
from tests.lab.aws_model import REGISTRY
from tests.lab.host import CHECKOUT
from tests.lab.lab import Lab
with Lab() as lab:
    lab.engine.docker("pull", "-q", "nothing:here", check=False)
    lab.machine.start_process(["sleep", "1000"])
    print(lab.machine.pid, flush=True)
    signal.pause()
"""


# In a PID namespace of its own, where the number that the next process gets can be said.
REUSED = """
import subprocess
from pathlib import Path
from tests.lab.process import Running
ended = Running([], ["true"], {"PATH": "/usr/bin:/bin"})
number = ended._entry.pid
ended.wait()
Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))
other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
ended.kill()
try:
    print(other.pid == number, other.wait(0.2))
except subprocess.TimeoutExpired:
    print(other.pid == number, "lives")
other.kill()
"""


def processes_of(namespace: str) -> list[str]:
    """The PIDs of the host's processes that are in a PID namespace."""
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if str(link.readlink()) == namespace:
                found.append(link.parts[2])
        except OSError:
            continue
    return found


def pid_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def leftovers(pid: int, pid_namespace: str, temporary: Path) -> list[str]:
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/delphi-lab-{pid}")]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "delphi-lab" in line]
    folders = [str(path) for path in temporary.glob("delphi-lab-*")]
    return [*processes_of(pid_namespace), *cgroups, *mounts, *folders]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_owner_ends(number: signal.Signals, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as owner:
        try:
            assert owner.stdout is not None
            pid = int(owner.stdout.readline())
            namespace = pid_namespace(pid)
            assert len(processes_of(namespace)) > 5
            owner.send_signal(number)
            owner.wait(10)
        finally:
            owner.kill()
        wait_until(lambda: not leftovers(pid, namespace, tmp_path), "the machine to vanish", timeout=5)


def test_nothing_is_left_after_stop_with_containers_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Lab() as lab:
        pid, namespace = lab.machine.pid, pid_namespace(lab.machine.pid)
        login = ["docker", "login", "--username", "AWS", "--password-stdin", REGISTRY]
        lab.machine.run(login, input=PASSWORD, env={"HOME": "/root"}, check=True)
        run = ["docker", "run", "--detach", f"{REGISTRY}/app:{world.TAG}"]
        lab.machine.run(run, env={"HOME": "/root"}, check=True)
        assert leftovers(pid, namespace, tmp_path) != []
    assert leftovers(pid, namespace, tmp_path) == []


def test_a_process_that_has_the_number_of_one_that_ended_is_not_killed_in_its_place() -> None:
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", REUSED]
    done = subprocess.run(
        argv, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, check=True
    )

    assert done.stdout == "True lives\n"


def test_processes_are_handled_like_local_ones() -> None:
    with Machine() as machine:
        done = machine.run(["sh", "-c", "cat; echo err >&2; exit 3"], input="in")
        assert (done.returncode, done.stdout, done.stderr) == (3, "in", "err\n")
        polite = machine.start_process(["sh", "-c", "trap 'echo bye; kill $!; exit 7' TERM; echo hi; sleep 100 & wait"])
        wait_until(polite.stdout, "its first word")
        polite.signal(signal.SIGTERM)
        assert (polite.wait(5), polite.stdout()) == (7, "hi\nbye\n")
        killed = machine.start_process(["sleep", "100"])
        killed.signal(signal.SIGKILL)
        assert killed.wait(5) == -signal.SIGKILL
        with pytest.raises(subprocess.TimeoutExpired):
            machine.run(["sh", "-c", "sleep 100"], timeout=0.2)
        assert "sleep" not in machine.run(["ps", "axo", "args"]).stdout, "its children are killed with it"


def test_strays_are_ended_and_servers_are_not(instance: Lab) -> None:
    stray = "setsid sleep 1234 </dev/null >/dev/null 2>&1 &"
    instance.machine.run(["sh", "-c", stray], check=True)
    before = instance.engine.docker("version", "--format", "{{.Server.Version}}").stdout
    instance.machine.end_strays()
    assert "sleep 1234" not in instance.machine.run(["ps", "axo", "args"]).stdout
    assert instance.engine.docker("version", "--format", "{{.Server.Version}}").stdout == before
    assert instance.aws.client("sts").get_caller_identity()["Account"]


def test_the_machine_has_its_own_files_and_cannot_write_the_checkout() -> None:
    host_file = Path("/opt/delphi-lab-test")
    with Machine() as machine:
        machine.run(["sh", "-c", f"echo x >{host_file}; rm -rf /etc/apt"], check=True)
        assert machine.path(str(host_file)).read_text() == "x\n"
        refused = machine.run(["touch", str(CHECKOUT / "tests/x")])
        assert "Read-only file system" in refused.stderr
        for path in ("/etc/docker", "/opt/services", "/opt/deployment", "/root/.docker", "/root/.aws"):
            assert not machine.path(path).exists()
    assert not host_file.exists()
    assert Path("/etc/apt").exists()


def test_the_lab_by_hand(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "DELPHI_LAB_STATE": str(tmp_path / "state.json")}
    lab = [sys.executable, "-m", "tests.lab"]
    with subprocess.Popen([*lab, "up"], stdout=subprocess.PIPE, text=True, env=env) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("lab: up")
        read = [*lab, "enter", "cat", world.BOOTSTRAP_FILE]
        assert "SERVER_ROLE=api" in subprocess.run(read, capture_output=True, text=True, env=env, check=True).stdout
        assert subprocess.run([*lab, "down"], env=env, check=False).returncode == 0
        assert up.wait(5) == 0
    assert list(tmp_path.iterdir()) == []
    nothing = subprocess.run([*lab, "enter"], capture_output=True, text=True, env=env, check=False)
    assert (nothing.returncode, nothing.stderr) == (1, "lab: none is up; start one with: python -m tests.lab up\n")


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="the lab needs root"):
        Machine().start()
