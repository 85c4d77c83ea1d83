"""Bundles of a few small services, made for one question each."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.lab.lab import Lab
from tests.lab_tests import reports

# Up at once, and gone at once when it has to stop.
APP = """x-app: &app
  image: ${ECR_REGISTRY}/app:${ECR_TAG}
  init: true
  restart: unless-stopped
  command: [sleep, "1000"]
x-well: &well
  healthcheck: {test: [CMD, "true"], interval: 200ms, timeout: 2s, retries: 5}
"""
# What the example brings and these projects do not need.
WITHOUT: Mapping[str, str | None] = {"api/Caddyfile": None, "common/otel-collector-config.yaml": None}


def upload(lab: Lab, compose: str, manifest: str = "", files: Mapping[str, str | None] | None = None) -> None:
    """Make the bundle one with this compose file (below `APP`); `manifest` is what follows `service: api`."""
    whole = {"api/docker-compose.yaml": APP + compose, "api/vars.yaml": f"service: api\n{manifest}"}
    lab.world.upload_bundle(changes={**WITHOUT, **whole, **(files or {})})


def init(lab: Lab, *args: str) -> None:
    """A deploy that has to succeed."""
    done = lab.agent("init", *args)
    assert done.returncode == 0, "\n".join(reports.whole(error) for error in reports.errors(done.stderr)) or done.stderr


def ids(lab: Lab) -> dict[str, str]:
    """The container of each service; of one with several, the last."""
    found = lab.engine.containers()
    return {item["Labels"]["com.docker.compose.service"]: item["Id"] for item in found}


def replaced(lab: Lab, before: Mapping[str, str]) -> set[str]:
    """The services that have another container than `before`, or one more or less."""
    now = ids(lab)
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def notes(lab: Lab) -> dict[str, str]:
    """What the last run says that it did to each service, and why."""
    document = json.loads(lab.agent("status", "--json").stdout)
    return {item["name"]: item["note"] for item in document["services"]}
