"""The proxy of the bootstrap file for the Docker engine, which does the pulling and sees nobody's shell.

It goes into an `EnvironmentFile=` of the engine's unit that only root can read: systemd shows an `Environment=` to
everybody, and the address may hold a password (contract section 5).

Not into `proxies` of daemon.json, which engines from 23.0 on know: everybody may read that file, an older engine does
not start with the key in it, nor does one that has the flags too, and a JSON file cannot say whose the key is when it
is to be taken back. All that speaks for it is a host without systemd, where nobody could restart the engine for it
either: there the operator is told what to do.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.dataclass import dataclass
from agent.host import files, proxy_url
from agent.host.paths import Paths
from agent.host.proxy import Proxies
from agent.secret import Secret
from agent.steps import engine_process
from agent.steps.foreign_proxy import MARK, find

DROP_IN = "/etc/systemd/system/docker.service.d/delphi-agent-proxy.conf"
ENVIRONMENT = "/etc/delphi-agent/docker-proxy.env"
_WHAT = "engine-proxy"
_URLS = ("HTTP_PROXY", "HTTPS_PROXY")
# Within double quotes systemd takes everything as it stands but these two.
_UNQUOTED, _ESCAPED = re.compile(r'([\\"])'), r"\\\1"


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """What was found or done. `ours`: the engine has to have the proxy, or none, as the agent's files say.

    `pending`: the engine that runs was started before they changed. `missing`: what an engine lacks that nobody but an
    operator can give it.
    """

    ours: bool = False
    changed: bool = False
    pending: bool = False
    missing: str = ""
    text: str


def concerns(paths: Paths, proxies: Proxies) -> bool:
    """Whether there is anything to hand over, or to take back."""
    there = any(paths.at(name).exists() for name in (DROP_IN, ENVIRONMENT))
    return bool(proxies.http or proxies.https) or there or engine_process.is_pending(paths, _WHAT)


def ensure(paths: Paths, address: str, proxies: Proxies, effective: Callable[[], Mapping[str, str]]) -> HandOver:
    """Have the engine's unit read these proxies, or, when there are none, none of the agent's.

    A proxy that somebody else gave the engine is left alone: what is `effective` in it without the agent's doing, or
    what its settings say. So is an engine (at `address`) that is not on this host.
    """
    if not address.startswith("unix://"):
        return HandOver(text=f"left alone: the engine is at {address}, its settings are not on this host")
    wanted = proxies.http is not None or proxies.https is not None
    foreign = find(paths) if wanted else ""
    if not foreign and wanted and not _is_ours(paths) and not engine_process.is_pending(paths, _WHAT):
        has = effective()
        foreign = "the engine was started with one" if any(has.get(name) for name in _URLS) else ""
    if foreign or not wanted:
        changed = _take_back(paths)
        text = f"left alone: {foreign}" if foreign else "taken back, the bootstrap file has none"
        return HandOver(ours=not foreign, changed=changed, pending=_is_pending(paths, changed=changed), text=text)
    where = ", ".join(dict.fromkeys(proxy_url.shown(url.reveal()) for url in (proxies.http, proxies.https) if url))
    if not has_systemd(paths):
        names = ", ".join([name for name, url in _urls(proxies).items() if url] + ["NO_PROXY"])
        why = f"{where} is not handed over: systemd does not run this host"
        return HandOver(text=why, missing=f"{why}; start dockerd with {names} of the bootstrap file in its environment")
    changed = _write(paths, proxies)
    text = f"{where} handed over" if changed else where
    return HandOver(ours=True, changed=changed, pending=_is_pending(paths, changed=changed), text=text)


def holds(proxies: Proxies, effective: Mapping[str, str]) -> bool:
    """Whether the engine uses these proxies; it shows no passwords, so those are not compared."""
    wanted = _urls(proxies)
    same = all(_plain(effective.get(name, "")) == _plain(url.reveal() if url else "") for name, url in wanted.items())
    rules = proxies.rules_for_engine if any(wanted.values()) else ""
    return same and effective.get("NO_PROXY", "") == rules


def has_systemd(paths: Paths) -> bool:
    """Whether systemd runs this host."""
    return paths.at("/run/systemd/system").is_dir()


def _is_pending(paths: Paths, *, changed: bool) -> bool:
    return changed or engine_process.is_pending(paths, _WHAT)


def _urls(proxies: Proxies) -> dict[str, Secret | None]:
    return {"HTTP_PROXY": proxies.http, "HTTPS_PROXY": proxies.https}


def _plain(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//", url).rstrip("/")


def _is_ours(paths: Paths) -> bool:
    with contextlib.suppress(OSError):
        return paths.at(DROP_IN).read_text(errors="replace").startswith(MARK)
    return False


def _write(paths: Paths, proxies: Proxies) -> bool:
    """Write what is not there as it has to be; true when something was."""
    given = {name: url.reveal() for name, url in _urls(proxies).items() if url} | {"NO_PROXY": proxies.rules_for_engine}
    lines = [f'{name}="{_UNQUOTED.sub(_ESCAPED, value)}"\n' for name, value in given.items()]
    environment = f"{MARK} for the Docker engine, from the bootstrap file.\n{''.join(lines)}"
    # An engine without a proxy is better than none: the file may be missing.
    unit = f"{MARK}; it goes when the bootstrap file has no proxy.\n[Service]\nEnvironmentFile=-{ENVIRONMENT}\n"
    wanted = {ENVIRONMENT: (environment.encode(), 0o600), DROP_IN: (unit.encode(), 0o644)}
    missing = {paths.at(name): it for name, it in wanted.items() if not _is_as(paths.at(name), *it)}
    if missing:
        engine_process.note_pending(paths, _WHAT)
    for path, (content, mode) in missing.items():
        if not path.parent.exists():
            files.make_folder(path.parent, 0o755)
        files.write(path, content, mode)
    return bool(missing)


def _is_as(path: Path, content: bytes, mode: int) -> bool:
    try:
        return path.read_bytes() == content and stat.S_IMODE(path.stat().st_mode) == mode
    except OSError:
        return False


def _take_back(paths: Paths) -> bool:
    """Remove what the agent wrote; true when there was something."""
    ours = _is_ours(paths)
    if not ours and not paths.at(ENVIRONMENT).exists():
        return False
    engine_process.note_pending(paths, _WHAT)
    if ours:
        place = DROP_IN.removeprefix("/etc/systemd/")
        files.remove_below(paths.at("/etc/systemd"), [place], {"system/docker.service.d"})
    files.erase(paths.at(ENVIRONMENT))
    files.remove_below(paths.root, [ENVIRONMENT.removeprefix("/")], {"etc/delphi-agent"})
    return True
