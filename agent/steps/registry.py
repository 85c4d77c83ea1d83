"""The Docker client configuration of one run: private, on tmpfs, with the registry's token, erased at the end.

It starts from the operator's own, so that logins to other registries keep working, and never changes that one.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.aws.ecr import Login
from agent.errors import AgentError, HostError
from agent.host import files, json_input, processes
from agent.host.paths import Paths

_HUB = "https://index.docker.io/v1/"


def write_config(folder: Path, login: Login | None, own: Path) -> None:
    """Write `config.json` for DOCKER_CONFIG=`folder` (0700); `own` is the Docker folder of the user's home."""
    files.erase_folder(folder)
    files.make_folder(folder, 0o700)
    config = _read(own / "config.json")
    plugins = own / "cli-plugins"
    if plugins.is_dir():
        config["cliPluginsExtraDirs"] = [*(config.get("cliPluginsExtraDirs") or ()), str(plugins)]
    if login is not None:
        config = _with_login(config, login)
    files.write(folder / "config.json", json.dumps(config).encode(), 0o600, durable=False)


def erase_left_behind(paths: Paths) -> None:
    """Erase what each command `compose` that was killed has left. Never raises: the next one erases the rest.

    Where another process has its pid by now, that one's end is waited for; other commands `compose` keep theirs.
    """
    for folder in paths.run.glob(paths.of_compose("*").name):
        pid = folder.name.rpartition("-")[2]
        if pid.isascii() and pid.isdecimal() and processes.start_time(int(pid)) is None:
            with contextlib.suppress(AgentError, OSError):  # another one is at it
                files.erase_folder(folder)


def _with_login(config: Mapping[str, Any], login: Login) -> dict[str, Any]:
    """The client asks a credential helper before it looks at `auths`: none may stand for this registry.

    A `credsStore` stands for all registries, so it becomes a helper for each of the others that it is known to serve.
    """
    auths: dict[str, Any] = dict(config.get("auths") or {})
    helpers = dict(config.get("credHelpers") or {})
    store = config.get("credsStore")
    if store:
        stored = [name for name, auth in {_HUB: {}, **auths}.items() if not auth]
        helpers = dict.fromkeys(stored, store) | helpers
    helpers.pop(login.registry, None)
    helpers.pop(f"https://{login.registry}", None)
    auths.pop(f"https://{login.registry}", None)
    pair = f"{login.user}:{login.password.reveal()}"
    auths[login.registry] = {"auth": base64.b64encode(pair.encode()).decode()}
    rest = {name: value for name, value in config.items() if name not in {"auths", "credHelpers", "credsStore"}}
    return {**rest, "auths": auths, "credHelpers": helpers}


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json_input.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostError(f"reading {path}", f"{error}", "repair the file or move it away, then run it again") from error
    if not isinstance(config, dict):
        raise HostError(f"reading {path}", "it holds no JSON object", "repair the file or move it away")
    return config
