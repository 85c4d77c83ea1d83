"""Compose's processes never act without a run: killed, interrupted or ended, an agent takes them along."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab import docker_wrapper
from tests.lab.lab import Lab
from tests.lab.process import Running, wait_until
from tests.lab.registry_door import RegistryFault
from tests.lab.world import BUNDLE, TAG

# The time between TERM and KILL, and some more for two cores that others use too.
SOON = 5.0


def processes(lab: Lab, *words: str) -> list[int]:
    """Every process of the machine itself (not of a container) with all these words in its command line."""
    namespace = Path(f"/proc/{lab.machine.pid}/ns/pid").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            if (folder / "ns/pid").readlink() == namespace and all(word in line for word in words):
                found.append(int(folder.name))
    return sorted(found)


def composes(lab: Lab) -> list[int]:
    """Compose's plugin at `up`, and the docker command that started it where one did."""
    return [pid for pid in processes(lab, "compose", "\0up\0") if "--dry-run" not in line(pid)]


def line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def guardians(lab: Lab) -> list[int]:
    return processes(lab, "delphi-agent-guardian")


def slow_to_be_healthy(lab: Lab) -> None:
    """`up` waits for the migration, which ends only when it is told to."""
    text = (BUNDLE / "api/docker-compose.yaml").read_text()
    changed = text.replace("echo migrated", "{ trap 'exit 1' TERM; sleep 3600 & wait; }")
    assert changed != text
    lab.world.put_file("api/docker-compose.yaml", changed)


def start(lab: Lab, *arguments: str, env: Mapping[str, str] | None = None) -> Running:
    argv = [*lab.agent_command(), "init", *arguments]
    return lab.machine.start_process(argv, env={**lab.agent_env(), **(env or {})})


@contextlib.contextmanager
def in_up(lab: Lab, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A run whose `docker compose up` is at work, and stays so."""
    slow_to_be_healthy(lab)
    running = start(lab, env=env)
    wait_until(lambda: bool(composes(lab)) or running.returncode is not None, "docker compose up", 30)
    assert running.returncode is None, running.stderr()
    # Compose has said something, so that it is in the middle of its work.
    wait_until(lambda: any(item["State"] == "running" for item in lab.engine.containers()), "the migration", 30)
    yield running


def test_compose_ends_when_the_agent_is_killed(instance: Lab) -> None:
    with in_up(instance) as running:
        assert len(guardians(instance)) == 1

        running.signal(signal.SIGKILL)

        running.wait(SOON)
        wait_until(lambda: not composes(instance), "the end of docker compose", SOON)
        wait_until(lambda: not guardians(instance), "the end of the guardian", SOON)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_compose_ends_before_an_agent_that_is_interrupted(instance: Lab, number: signal.Signals) -> None:
    with in_up(instance) as running:
        running.signal(number)

        assert running.wait(10) > 0
    assert (composes(instance), guardians(instance)) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_pulls_and_compares_takes_both_children_along(instance: Lab, number: signal.Signals) -> None:
    assert instance.agent("init").returncode == 0
    # Where the registry does not say what the tag names, a pull finds out.
    instance.registry.add_fault(RegistryFault(f"HEAD /v2/app/manifests/{TAG}", 500))
    docker_wrapper.put(instance, "case \" $* \" in *' pull '*|*--dry-run*) exec sleep 6111 ;; esac")
    running = start(instance)
    wait_until(lambda: len(processes(instance, "sleep\0006111")) == 2, "both children", 30)

    running.signal(number)

    running.wait(10)
    wait_until(lambda: not processes(instance, "sleep\0006111"), "the end of both", SOON)
    wait_until(lambda: not guardians(instance), "the end of the guardian", SOON)


def test_nothing_is_left_of_a_run_that_ended(instance: Lab) -> None:
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert (composes(instance), guardians(instance)) == ([], [])
    assert list(instance.machine.path("/run/delphi-agent/children").iterdir()) == []


def test_the_guardian_has_neither_the_lock_nor_a_stream_of_the_agent(instance: Lab) -> None:
    with in_up(instance) as running:
        (guardian,) = guardians(instance)

        files = {os.readlink(entry) for entry in Path(f"/proc/{guardian}/fd").iterdir()}  # noqa: PTH115 - pipes are no paths

        assert {name for name in files if not name.startswith("pipe:")} == {"/dev/null"}
        assert len(files) == 2
        running.signal(signal.SIGTERM)
        running.wait(10)


def test_who_reads_the_output_of_a_killed_agent_comes_to_its_end(instance: Lab) -> None:
    slow_to_be_healthy(instance)
    command = " ".join(instance.agent_command())
    # The agent, and cat, which ends with the last process that has the pipe.
    script = f"{command} init 2>&1 | cat >/run/said; touch /run/over"
    shell = instance.machine.start_process(["sh", "-c", script], env=instance.agent_env())
    wait_until(lambda: bool(composes(instance)), "docker compose up", 30)
    (agent,) = [pid for pid in processes(instance, "delphi-agent", "\0init\0") if "sh\0-c" not in line(pid)]

    os.kill(agent, signal.SIGKILL)

    wait_until(instance.machine.path("/run/over").exists, "the end of the pipe", SOON)
    shell.wait(SOON)
