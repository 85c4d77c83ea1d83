"""Reading what a run has said off a terminal: one JSON line per event."""

from __future__ import annotations

import json
from typing import Any


def events(stderr: str) -> list[dict[str, Any]]:
    """All events; a line that is no JSON fails the test."""
    return [json.loads(line) for line in stderr.splitlines() if line.strip()]


def errors(stderr: str) -> list[dict[str, Any]]:
    """The errors that the run ended with."""
    return [event for event in events(stderr) if event["event"] == "run.error"]


def finished(stderr: str) -> dict[str, Any]:
    """The last event."""
    last = events(stderr)[-1]
    assert last["event"] == "run.finished"
    return last


def steps(stderr: str) -> dict[str, str]:
    """Each finished step with its detail."""
    return {event["step"]: event.get("detail", "") for event in events(stderr) if event["event"] == "step.finished"}


def whole(error: dict[str, Any]) -> str:
    """An error as a person would read it."""
    return "\n".join([f"{error['doing']}: {error['cause']}", *error["details"], f"next: {error['next_step']}"])
