"""demo.sh and check.sh do what they and the README say. Slow, and as root: these make whole instances."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.process import SYSTEM_PATH
from tests.packaging.checkout import CHECKOUT, commands

pytestmark = pytest.mark.slow

# As little as a script may be started with: no HOME, no terminal. The interpreter is the one that this environment was
# made with: another one would make it anew, under the feet of this very session.
BARE = {"PATH": SYSTEM_PATH, "CI": "true", "PYTHON": f"{sys.base_prefix}/bin/python3"}


def run(
    *argv: str | Path, cwd: Path = CHECKOUT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end, with standard input closed; its two outputs as they come."""
    return subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv],
        cwd=cwd,
        env={**BARE, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def lab_of_its_own(tmp_path: Path) -> dict[str, str]:
    """The variable that gives the lab's commands another state file, so that a lab that is up is left alone."""
    return {"DELPHI_LAB_STATE": str(tmp_path / "lab.json")}


def left_behind(lab: Mapping[str, str]) -> list[str]:
    """What is still there a few seconds after the end; an owner that has ended its lab may be ending itself."""
    until = time.monotonic() + 5
    while (found := _belonging_to(lab)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _belonging_to(lab: Mapping[str, str]) -> list[str]:
    """Processes started with `lab`, and machines of this checkout whose owner is gone; other labs may be at work."""
    mark = f"DELPHI_LAB_STATE={lab['DELPHI_LAB_STATE']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
            machine = command.startswith("unshare ") and f"{CHECKOUT}/tests/lab/machine_root.sh" in command
            orphan = machine and _parent(folder) == "1"
        except OSError:
            continue
        if ours or orphan:
            found.append(command)
    return found


def _parent(folder: Path) -> str:
    return (folder / "stat").read_text().rpartition(")")[2].split()[1]


def test_the_demo_shows_a_boot_and_leaves_nothing(lab_of_its_own: dict[str, str]) -> None:
    began = time.monotonic()

    (command,) = [line for line in commands("checkout") if "demo.sh" in line]
    done = run(*command.split(), env=lab_of_its_own)

    assert done.returncode == 0, done.stdout
    for part in (
        "NAMESPACE=delphi/prod",
        '"event": "run.finished"',
        "verified: release 1",
        "(healthy)",
        "\nok\n",
        "\nDATABASE_URL\n",
        "unchanged: release 1",
        "container ids, before and after:",
    ):
        assert part in done.stdout
    assert "\x1b" not in done.stdout
    assert left_behind(lab_of_its_own) == []
    # check.sh has just made sure that everything is installed: this is the second run that has to be quick.
    assert time.monotonic() - began < 30


def test_the_kept_instance_answers_to_what_the_readme_says(lab_of_its_own: dict[str, str]) -> None:
    try:
        kept = run("sh", "packaging/demo.sh", "--keep", env=lab_of_its_own)
        assert kept.returncode == 0, kept.stdout
        hints = [line.strip() for line in kept.stdout.splitlines() if line.startswith("  DELPHI_LAB_STATE=")]
        enter, down = (hint.split(" ", 1)[1] for hint in hints)

        for command in commands("instance"):
            path = f"PATH={CHECKOUT}/.venv/bin:{SYSTEM_PATH}"
            done = run(*enter.split(), "env", path, "sh", "-c", command, env=lab_of_its_own)
            assert done.returncode == 0, f"{command}: {done.stdout}"
    finally:
        ended = run(*(CHECKOUT / ".venv/bin/python", "-m", "tests.lab", "down"), env=lab_of_its_own)

    assert down == ".venv/bin/python -m tests.lab down"
    assert ended.returncode == 0, ended.stdout
    assert left_behind(lab_of_its_own) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
@pytest.mark.parametrize("until", ["demo: lab", "run.started"])
def test_a_demo_that_is_stopped_cleans_up(lab_of_its_own: dict[str, str], number: signal.Signals, until: str) -> None:
    demo = subprocess.Popen(
        ["sh", "packaging/demo.sh", "--keep"],
        cwd=CHECKOUT,
        env={**BARE, **lab_of_its_own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    seen = ""
    for line in demo.stdout:
        seen += line
        if until in line:
            break

    # As a terminal does it: to the script and to what it runs in the foreground.
    os.killpg(demo.pid, number)
    rest, _ = demo.communicate(timeout=60)

    assert demo.returncode == 128 + number, seen + rest
    assert left_behind(lab_of_its_own) == []


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project in another place, with one small test of each kind instead of its own."""
    top = tmp_path_factory.mktemp("clone") / "delphi-agent"
    kept = shutil.ignore_patterns(
        ".git", ".venv", "unit", "lab_tests", "boot", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.copytree(CHECKOUT, top, ignore=lambda folder, names: {*kept(folder, names), *_own_tests(folder, names)})
    for kind in ("unit", "packaging", "lab_tests", "boot"):
        (top / "tests" / kind).mkdir()
        (top / "tests" / kind / f"test_{kind}.py").write_text(_small_test(kind))
    shutil.copytree(CHECKOUT / ".venv", top / ".venv", symlinks=True, copy_function=_link)
    yield top
    shutil.rmtree(top)


def _link(source: str, target: str) -> None:
    """Quick where both are on one file system; a package that is replaced in one place stays in the other."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _own_tests(folder: str, names: list[str]) -> set[str]:
    return {"packaging"} & set(names) if Path(folder) == CHECKOUT / "tests" else set()


def _small_test(kind: str) -> str:
    return f'def test_{kind}() -> None:\n    assert "{kind}".islower()\n'


STAGES = ("ruff check", "ruff format", "mypy", "import-linter")


def test_the_check_runs_every_stage_and_ends_with_the_summary_of_all_tests(clone: Path) -> None:
    (command,) = [line for line in commands("checkout") if line.endswith("check.sh")]

    done = run(*command.split(), cwd=clone)

    assert done.returncode == 0, done.stdout
    for stage in ("debian packages", "project", *STAGES):
        assert f"check: {stage} " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("4 passed")


def test_the_quick_check_needs_neither_root_nor_the_lab(clone: Path) -> None:
    (command,) = [line for line in commands("checkout") if line.endswith("--quick")]

    done = run(*command.split(), cwd=clone)

    assert done.returncode == 0, done.stdout
    assert "debian packages" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 passed")


def test_the_check_goes_through_all_linters_and_stops_before_the_tests(clone: Path) -> None:
    wrong = clone / "agent" / "wrong.py"
    wrong.write_text('"""Wrong."""\n\nimport os\n\nx: int = "1"\n')
    try:
        done = run("sh", "packaging/check.sh", "--quick", cwd=clone)
    finally:
        wrong.unlink()

    assert done.returncode == 1
    assert "F401" in done.stdout
    assert "Incompatible types in assignment" in done.stdout
    assert "check: import-linter " in done.stdout
    assert done.stdout.splitlines()[-1] == "check: stopped before the tests"


def test_ci_fails_with_a_test_that_fails(clone: Path) -> None:
    wrong = clone / "tests" / "lab_tests" / "test_wrong.py"
    wrong.write_text("def test_wrong() -> None:\n    raise AssertionError\n")
    try:
        done = run(clone / ".ci" / "run", cwd=Path("/"))
    finally:
        wrong.unlink()

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("1 failed, 4 passed")


@pytest.mark.parametrize("script", ["check.sh", "demo.sh"])
def test_scripts_tell_how_they_are_used(script: str) -> None:
    helped, misused = (run("sh", f"packaging/{script}", argument) for argument in ("--help", "--nosuch"))

    assert helped.returncode == 0
    assert f"sh packaging/{script}" in helped.stdout
    assert misused.returncode == 2


def test_commands_of_the_environment_run() -> None:
    for command in commands("checkout"):
        if command.startswith(".venv/bin/python -m pytest"):
            done = run(*command.split())
            assert done.returncode == 0, f"{command}: {done.stdout}"
        elif command.startswith(".venv/bin/"):
            # The check has run them on the whole project already.
            assert run(CHECKOUT / command.split()[0], "--version").returncode == 0, command
        else:
            assert command.startswith("sh packaging/"), f"no test runs {command}"
