"""Makes what all packages have in common: the agent with its libraries in one folder, the same bytes on every machine.

    python tree.py TARGET VERSION

The libraries are those of packaging/locked.txt, by their hashes, from whatever index this machine's pip takes. What is
machine code in them is left out (PyYAML and charset-normalizer have the same in Python), and with it all that differs
between architectures; so are the descriptions of AWS services that the agent does not use.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import slim

CHECKOUT = Path(__file__).parents[2]
# Where the folder will be: written into the byte code, for tracebacks.
HOME = "/usr/lib/delphi-agent"
# How the agent makes a client of a service. botocore knows 400 services, and they are nine tenths of it.
CLIENT = re.compile(r'\b_(?:client|make)\("([a-z0-9-]+)"')
# Of a library's own papers: what scanners and licences ask for.
PAPERS = frozenset({"METADATA", "licenses"})
LICENCES = ("LICENSE", "LICENCE", "NOTICE", "COPYING")


def make(target: Path, version: str) -> None:
    """The folder `target`, which is not there yet: the agent says that it is of this version."""
    _install(target)
    _copy_agent(target, version)
    _strip(target)
    for path in sorted(target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    _compile(target)


def _install(target: Path) -> None:
    locked = CHECKOUT / "packaging" / "locked.txt"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile"]
    subprocess.run([*command, "--target", target, "--requirement", locked], check=True)  # noqa: S603 - our own words


def _copy_agent(target: Path, version: str) -> None:
    # Not what lies about in a checkout: byte code, an editor's files.
    patterns = ("*.py", "*.json")
    for path in sorted(file for pattern in patterns for file in (CHECKOUT / "agent").rglob(pattern)):
        copy = target / path.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    init = target / "agent" / "__init__.py"
    text, times = re.subn(r'(?m)^__version__ = ".*"$', f'__version__ = "{version}"', init.read_text())
    if times != 1:
        raise SystemExit(f"{init} does not say its version")
    init.write_text(text)


def _strip(target: Path) -> None:
    services = set(CLIENT.findall((CHECKOUT / "agent" / "aws" / "session.py").read_text()))
    for data in (target / "botocore" / "data", target / "boto3" / "data"):
        wanted = services if data.parent.name == "botocore" else set()
        for folder in data.iterdir():
            if folder.is_dir() and folder.name not in wanted:
                shutil.rmtree(folder)
    slim.slim(target / "botocore" / "data")
    for path in (target / "bin", target / "certifi" / "tests", target / "boto3" / "examples", target / "_yaml"):
        shutil.rmtree(path, ignore_errors=True)
    for path in target.rglob("*.so"):
        path.unlink()
    for path in sorted(target.rglob("*.py")):
        if (text := path.read_bytes()).startswith(b"#!"):
            # They are modules here, and nobody's commands.
            path.write_bytes(b"#" + text[text.index(b"\n") :])
    for papers in sorted(target.glob("*.dist-info")):
        _strip_papers(papers)


def _strip_papers(papers: Path) -> None:
    for path in sorted(papers.iterdir()):
        if path.is_file() and path.name.startswith(LICENCES):
            (papers / "licenses").mkdir(exist_ok=True)
            path.rename(papers / "licenses" / path.name)
        elif path.name not in PAPERS:
            # RECORD, WHEEL and INSTALLER differ between machines, and nobody reads them: nothing is installed by pip.
            path.unlink()


def _compile(target: Path) -> None:
    """Byte code that is never looked at twice: the sandboxed agent could not write it, and the package brings both."""
    done = compileall.compile_dir(
        target,
        quiet=1,
        stripdir=str(target),
        prependdir=HOME,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise SystemExit("not everything could be compiled")


if __name__ == "__main__":
    # A folder of its own first: pip looks at what is in its target.
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as work:
        made = Path(work) / "lib"
        make(made, sys.argv[2])
        made.rename(sys.argv[1])
