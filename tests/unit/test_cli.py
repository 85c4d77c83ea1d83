"""The command line: cheap where it can be, exact about what it accepts, and `status` returns the run's own code."""

from __future__ import annotations

import io
import json
import os
import pkgutil
import subprocess
from pathlib import Path

import pytest

import agent
from agent import errors
from agent.cli import status as status_command
from agent.cli.argument_parts import seconds
from agent.cli.arguments import parser
from agent.cli.main import main
from agent.cli.terminal import Surroundings
from agent.host.paths import Paths
from agent.report.record import Ending, Recorder
from agent.report.status_file import StatusFile
from agent.run import Options
from agent.secret import Redactor
from tests.unit import children, fakes
from tests.unit.fakes import FakeClock

HEAVY = {"boto3", "botocore", "docker", "yaml", "structlog", "tenacity", "requests", "urllib3", "dotenv"}
MODULES = [module.name for module in pkgutil.walk_packages(agent.__path__, "agent.")]
LOADED = """
    import sys
    from agent.cli.main import main
    try:
        main(sys.argv[1:])
    except SystemExit:
        pass
    print("LOADED", sorted({name.partition(".")[0] for name in sys.modules}))
"""


def write_status(root: Path, ending: Ending | None, pid: int | None = None) -> None:
    clock = FakeClock()
    recorder = Recorder(
        fakes.head(os.getpid() if pid is None else pid), clock, [StatusFile(Paths(root).status, clock, Redactor())]
    )
    with recorder.step("pull", "pulling the images") as step:
        step.detail = "9 images"
    if ending is not None:
        recorder.finish(ending)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["init", "--help"],
        ["--version"],
        ["status"],
        ["status", "--json"],
        ["timeline"],
        ["timeline", "--svg"],
    ],
)
def test_help_and_status_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    write_status(tmp_path, Ending(outcome="verified", exit_code=0, text="x"))
    if arguments[0] in {"status", "timeline"}:
        arguments = [*arguments, "--root", str(tmp_path)]
    out = children.python(LOADED, arguments=arguments).out
    loaded = set(json.loads(out.rpartition("LOADED ")[2].replace("'", '"')))

    assert loaded & HEAVY == set()
    assert "agent" in loaded


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
@pytest.mark.slow
def test_a_module_does_nothing_when_it_is_imported(name: str) -> None:
    # In a clean process with an empty environment: no file is written, nothing is connected, started or threaded.
    code = """
        import importlib, os, sys, threading

        def hook(event, args):
            writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes or event in {"socket.connect", "subprocess.Popen", "os.system", "os.mkdir", "os.remove"}:
                print(event, args)

        sys.addaudithook(hook)
        importlib.import_module(sys.argv[1])
        print(threading.active_count())
    """

    assert children.python(code, arguments=[name]).out == "1\n"


def test_python_m_agent_is_the_command() -> None:
    code = "import runpy, sys; sys.argv = ['x', '--version']; runpy.run_module('agent', run_name='__main__')"

    assert f"delphi-agent {agent.__version__}\n" == children.python(code).out


def test_the_help_names_every_exit_code_that_a_class_has() -> None:
    text = " ".join(parser().format_help().split())
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AgentError)
    }

    assert [code for code in sorted(codes) if f"{code} " not in text] == []


@pytest.mark.parametrize(
    "argv",
    [[], ["reboot"], ["init", "--skip"], ["init", "--deadline", "soon"], ["init", "--deadline", "-1"], ["status", "x"]],
)
def test_a_wrong_command_line_is_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)

    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "86401", "", "1m"])
def test_a_strange_number_of_seconds_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["init", "--deadline", text])

    assert "--deadline" in capsys.readouterr().err


def test_seconds_may_be_parts_of_one() -> None:
    assert [seconds("0"), seconds("0.5"), seconds("86400")] == [0, 0.5, 86400]


@pytest.mark.parametrize(
    "argv", [["--root", "/r", "init"], ["init", "--root", "/r"], ["--root", "/x", "init", "--root", "/r"]]
)
def test_global_options_count_before_and_after_the_command_and_the_last_wins(argv: list[str]) -> None:
    assert parser().parse_args(argv).root == "/r"


def test_the_defaults_are_those_of_the_documentation() -> None:
    parsed = parser().parse_args(["init"])

    assert (parsed.root, parsed.deadline, parsed.lock_wait, parsed.slug) == ("/", 300, 0, None)
    assert (parsed.log_format, parsed.log_level) == ("auto", None)
    assert not any([parsed.skip_fetch, parsed.skip_images, parsed.restart_only, parsed.force_recreate])


@pytest.mark.parametrize(
    ("options", "images", "recreate"),
    [
        (Options(), True, False),
        (Options(skip_images=True), False, False),
        (Options(restart_only=True), False, True),
        (Options(force_recreate=True), True, True),
    ],
)
def test_restart_only_skips_the_images_and_recreates(options: Options, *, images: bool, recreate: bool) -> None:
    assert (options.images_wanted, options.recreate) == (images, recreate)


# --- status


def shown(root: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    parsed = parser().parse_args(["--root", str(root), "status", *arguments])
    code = status_command.run(parsed, Surroundings(environ={}, out=out, err=err, argv=["status"]))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(("outcome", "code"), [("verified", 0), ("failed", 76), ("failed", 78), ("interrupted", 143)])
def test_status_returns_the_code_of_the_run_that_it_shows(tmp_path: Path, outcome: str, code: int) -> None:
    write_status(tmp_path, Ending(outcome=outcome, exit_code=code, text="the text"))  # type: ignore[arg-type]  # from a table
    ended, out, err = shown(tmp_path)

    assert code == ended
    assert out.startswith(f"{outcome}: the text\n")
    assert "pull" in out
    assert err == ""


def test_without_a_run_status_says_so_and_is_not_zero(tmp_path: Path) -> None:
    code, out, err = shown(tmp_path)

    assert (code, out) == (69, "")
    assert "delphi-agent init" in err


def test_while_a_run_goes_on_status_shows_its_step_and_is_not_zero(tmp_path: Path) -> None:
    write_status(tmp_path, None)
    code, out, _ = shown(tmp_path)

    assert code == 69
    assert out.startswith("running: in step pull\n")


def test_a_run_that_died_is_not_zero_and_nobody_waits_for_it(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    write_status(tmp_path, None, pid=child.pid)
    child.kill()
    child.wait()
    code, out, _ = shown(tmp_path, "--wait")

    assert code == 69
    assert out.startswith("died: ")


def test_status_as_json_is_the_document_on_stdout() -> None:
    code = "import sys; from agent.cli.main import main; sys.exit(main(sys.argv[1:]))"
    ended = children.python(code, arguments=["status", "--json", "--root", "/nonexistent"])

    assert (ended.status, json.loads(ended.out), ended.err) == (69, {"schema": 1, "run": None}, "")


def test_a_status_that_cannot_be_read_ends_with_the_code_of_its_error(tmp_path: Path) -> None:
    Paths(tmp_path).status.parent.mkdir(parents=True)
    Paths(tmp_path).status.write_text("{")
    code = "import sys; from agent.cli.main import main; sys.exit(main(sys.argv[1:]))"
    ended = children.python(code, arguments=["status", "--root", str(tmp_path)])

    assert (ended.status, ended.out) == (74, "")
    assert ended.err.startswith("error [host] reading ")
    assert "  next: " in ended.err


# --- surroundings


def surroundings(**environ: str) -> Surroundings:
    return Surroundings(environ=environ, out=io.StringIO(), err=io.StringIO(), argv=["init", "--slug", "acme"])


def test_a_run_is_headed_with_its_command_and_who_started_it() -> None:
    head = surroundings(SUDO_USER="ubuntu", SSH_CONNECTION="203.0.113.7 1 2 3").head(FakeClock(), 300)

    assert (head.command, head.user) == ("delphi-agent init --slug acme", "ubuntu (sudo) from 203.0.113.7")
    assert (head.pid, head.deadline_seconds) == (os.getpid(), 300)


def test_every_run_has_an_id_of_its_own() -> None:
    made = surroundings()

    assert made.head(FakeClock(), 1).id != made.head(FakeClock(), 1).id


@pytest.mark.parametrize(("log_format", "kind"), [("auto", "JsonLog"), ("json", "JsonLog"), ("console", "Console")])
def test_off_a_terminal_a_run_is_json_lines_unless_asked_otherwise(log_format: str, kind: str) -> None:
    sinks = surroundings().sinks(log_format, "info", FakeClock(), Redactor())

    assert [kind] == [type(sink).__name__ for sink in sinks]


def test_the_environment_is_not_shown() -> None:
    assert "hunter2" not in repr(surroundings(PASSWORD="hunter2"))


def test_a_command_that_comes_first_is_the_only_one_that_is_looked_at_and_a_wrong_one_is_told_of_all() -> None:
    assert parser(["status", "--json"]).parse_args(["status", "--json"]).json
    assert parser(["--root", "/r", "status"]).parse_args(["--root", "/r", "status"]).command == "status"
    for argv in (["stats"], ["--root", "init", "stats"]):
        with pytest.raises(SystemExit):
            parser(argv).parse_args(argv)
