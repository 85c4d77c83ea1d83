"""Whether somebody else than the agent has given the Docker engine a proxy, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agent.host.paths import Paths
from agent.steps import daemon_json, engine_process

MARK = "# Written by delphi-agent"
_UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
_SET = re.compile(r"\bhttps?_proxy=[^\s\"']", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"^\s*Environment=(.*)", re.MULTILINE)
_FILE = re.compile(r"^\s*EnvironmentFile=-?(/\S+)", re.MULTILINE)
_COMMENT = re.compile(r"^\s*[#;].*$", re.MULTILINE)
_FLAGS = ("--http-proxy", "--https-proxy")
_KEYS = ("http-proxy", "https-proxy")


def find(paths: Paths) -> str:
    """Where it is set, in words; empty when nobody has."""
    for flag in engine_process.flags(paths):
        if flag.partition("=")[0] in _FLAGS:
            return f"the engine was started with {flag.partition('=')[0]}"
    proxies = daemon_json.read(paths.daemon_json).of_kind("proxies", dict) or {}
    if any(proxies.get(key) for key in _KEYS):
        return f"{paths.shown(paths.daemon_json)} sets one"
    return next((f"{paths.shown(path)} sets one" for path in _unit_files(paths) if _sets(paths, path)), "")


def _unit_files(paths: Paths) -> Iterator[Path]:
    for folder in (paths.at(name) for name in _UNITS):
        yield folder / "docker.service"
        yield from sorted((folder / "docker.service.d").glob("*.conf"))


def _sets(paths: Paths, path: Path) -> bool:
    text = _text(path)
    if text.startswith(MARK):
        return False
    text = _COMMENT.sub("", text)
    named = (_COMMENT.sub("", _text(paths.at(name))) for name in _FILE.findall(text))
    return any(_SET.search(part) for part in (*_ENVIRONMENT.findall(text), *named))


def _text(path: Path) -> str:
    """Without a file, or with one that is a folder or unreadable, systemd has nothing of it either."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
