"""Looking for planted secrets everywhere that a run could have left them: disk, output, arguments of children."""

from __future__ import annotations

import base64
import dataclasses
import re
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence

from tests.lab.lab import Lab

TRACE = "/tmp/exec.trace"
# Docker itself keeps a container's environment: in its own record, in containerd's, and in the runtime's folder
# (contract section 5). Containers of earlier tests may still be in containerd's database.
DOCKERS_OWN = re.compile(
    r"^/(var/lib/docker/containers/[0-9a-f]{64}/(config\.v2|hostconfig)\.json"
    r"|var/lib/docker/containerd/daemon/io\.containerd\.metadata\.v1\.bolt/meta\.db"
    r"|run/docker/containerd/"
    # containerd hands it to runc for the moment in which a health check starts.
    r"|tmp/runc-process\d+$)"
)
# What is on disk because it must be: AWS keys and a proxy's password in the bootstrap file, which the engine gets too.
ALLOWED = re.compile(r"^/(opt/deployment/\.env|etc/delphi-agent/docker-proxy\.env)$")


@dataclasses.dataclass(frozen=True)
class Traced:
    """A finished run with every exec that it or a descendant made."""

    code: int
    stdout: str
    stderr: str
    execs: Sequence[str]


def traced_agent(lab: Lab, *args: str, timeout: float = 120) -> Traced:
    """Run the agent under strace(1): each exec is a line with its whole argument vector, none is missed."""
    return traced(lab, [*lab.agent_command(), *args], env=lab.agent_env(), timeout=timeout)


def traced(lab: Lab, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120) -> Traced:
    """Run any command under strace(1)."""
    strace = ["strace", "-f", "-qq", "-e", "trace=execve,execveat", "-e", "signal=none", "-s", "1000000", "-o", TRACE]
    done: subprocess.CompletedProcess[str] = lab.machine.run([*strace, *argv], env=env, timeout=timeout)
    file = lab.machine.path(TRACE)
    lines = file.read_text("utf-8", "surrogateescape").splitlines()
    file.unlink()
    return Traced(done.returncode, done.stdout, done.stderr, [line for line in lines if "exec" in line])


def leaks(lab: Lab, secrets: Mapping[str, str], run: Traced) -> list[str]:
    """Every place where one of `secrets` (name -> value) is found and must not be, by name of place and of secret."""
    forms = {name: list(_forms(value)) for name, value in secrets.items()}
    found = [f"{name} in {place}" for place, data in _places(lab, run) for name in _in(data, forms)]
    return sorted(found)


def _in(data: bytes, forms: Mapping[str, Sequence[bytes]]) -> list[str]:
    return [name for name, all_forms in forms.items() if any(form in data for form in all_forms)]


def _places(lab: Lab, run: Traced) -> Iterator[tuple[str, bytes]]:
    yield "standard output", run.stdout.encode("utf-8", "surrogateescape")
    yield "standard error", run.stderr.encode("utf-8", "surrogateescape")
    yield "arguments of a child", "\n".join(run.execs).encode("utf-8", "surrogateescape")
    for file in lab.machine.written():
        if not DOCKERS_OWN.match(file.path) and not ALLOWED.match(file.path):
            yield file.path, file.outside.read_bytes()


def _forms(value: str) -> Iterator[bytes]:
    """The value, its longest part that no quoting touches, and its usual encodings."""
    core = max(re.findall(r"[A-Za-z0-9]+", value), key=len)
    assert len(core) >= 12, "a canary needs a part that no quoting changes"
    yield value.encode()
    yield core.encode()
    yield base64.b64encode(value.encode())
    yield base64.b64encode(value.encode()).rstrip(b"=")[2:-2]
    yield base64.b64encode(f"AWS:{value}".encode()).rstrip(b"=")
    yield urllib.parse.quote(value, safe="").encode()
    yield value.encode().hex().encode()
