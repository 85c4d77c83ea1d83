"""The Docker engine: its settings, that it answers, its proxy, the Compose plugin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agent.doctor.facts import Facts
from agent.doctor.line import Line, ok, warn
from agent.errors import EngineError, HostError
from agent.host import json_input
from agent.host.clock import Deadline
from agent.host.command import Command
from agent.report.words import amount
from agent.steps import daemon_json

_PLUGIN = "install the Compose plugin, version 2 or later (package docker-compose-plugin)"
_LEAST_MAJOR = 2


def settings(facts: Facts) -> Iterator[Line]:
    """daemon.json is what the engine can read, and container logs have a limit."""
    if not facts.host.docker_host.startswith("unix://"):
        yield ok("not looked at: the engine is on another host")
        return
    path = facts.host.paths.daemon_json
    config, shown = daemon_json.read(path), facts.host.paths.shown(path)
    driver = config.of_kind("log-driver", str) or "json-file"
    options = config.of_kind("log-opts", dict) or {}
    if driver != "json-file":
        yield ok(f"{shown}: log driver {driver}")
    elif options.get("max-size"):
        yield ok(f"{shown}: container logs are limited")
    else:
        yield warn(f"{shown}: container logs have no limit", "`delphi-agent init` sets one")


def engine(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """It answers."""
    try:
        running = facts.engine.until(deadline).running()
    except EngineError as error:
        fix = "start it (`systemctl start docker`) and see why it is down (`journalctl -u docker`)"
        raise EngineError(f"reaching the Docker engine at {facts.engine.address}", error.cause, fix) from error
    asked = Command(argv=("docker", "info", "--format", "{{json .}}"), env=facts.host.child_environment())
    finished = facts.host.commands.run(asked, deadline)
    try:
        info: Any = json_input.loads(finished.out)
    except ValueError:
        info = {}
    facts.engine_info = info if isinstance(info, dict) else {}
    version = facts.engine_info.get("ServerVersion") or "of unknown version"
    yield ok(f"Docker {version}, {amount(running, 'container')} running, data in {_data_root(facts)}")


def _data_root(facts: Facts) -> str:
    return str(facts.engine_info.get("DockerRootDir") or "/var/lib/docker")


def engine_proxy(facts: Facts) -> Iterator[Line]:
    """The engine, which does the pulling, goes the same way to the registry as the bootstrap file says."""
    host = facts.bootstrap.registry.partition("/")[0].partition(":")[0]
    wanted = facts.proxies.for_host(host, 443, tls=True) is not None
    has = bool(facts.engine_info.get("HttpsProxy"))
    if wanted and not has:
        yield warn(
            "the bootstrap file sets HTTPS_PROXY and the Docker engine has no proxy: it cannot pull",
            "`delphi-agent init` hands it over; by hand: a drop-in of docker.service, then `systemctl restart docker`",
        )
    elif has and not wanted:
        yield warn(
            "the Docker engine pulls through a proxy that the bootstrap file does not set",
            "set HTTPS_PROXY and NO_PROXY in the bootstrap file, or take it from docker.service",
        )
    else:
        yield ok("has the proxy" if has else "needs none")


def compose_plugin(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """`docker compose` is there, and not version 1."""
    asked = Command(argv=("docker", "compose", "version", "--short"), env=facts.host.child_environment())
    finished = facts.host.commands.run(asked, deadline)
    if not finished.ok:
        said = (finished.tail(1) or ["it said nothing"])[0]
        raise HostError("looking for Docker Compose", f"`docker compose` cannot be run: {said}", _PLUGIN)
    version = finished.out.decode("utf-8", "replace").strip()
    major = re.match(r"v?(\d+)\.", version)
    if major is None or int(major[1]) < _LEAST_MAJOR:
        raise HostError("looking at Docker Compose", f"it is version {version[:40]!r}", _PLUGIN)
    yield ok(f"Compose {version}")
