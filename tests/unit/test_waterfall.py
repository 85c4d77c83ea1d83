"""The timeline of hand-written statuses: what is drawn, where, and that no name breaks a terminal or a picture."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.cli import timeline
from agent.cli.arguments import parser
from agent.cli.terminal import Surroundings
from agent.errors import HostError, UnreachableError
from agent.host import processes
from agent.host.paths import Paths
from agent.report import waterfall, waterfall_svg, waterfall_text
from agent.report.waterfall import tick_text, ticks

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "</text><script>alert(1)</script>",
    '" onload="alert(1)',
    "]]>&amp;<![CDATA[",
    "\x1b]0;owned\x07\x1b[2J\r\n",
    "\u202egnp.exe",
    "\ud800\ufffe\x00",
    "x" * 100_000,
    "日本語🚀",
]


def step(name: str, at: float, took: float | None, **more: object) -> dict[str, Any]:
    state = "running" if took is None else "done"
    plain = {"doing": "", "detail": "", "waiting_for": None, "error": None, "error_code": None}
    return {"name": name, "state": state, "started": at, "seconds": took} | plain | more


def span(kind: str, name: str, within: str, started: float, seconds: float | None, **more: object) -> dict[str, Any]:
    plain = {"count": 1, "attempts": 1, "failed": 0, "error": None}
    return {"kind": kind, "name": name, "step": within, "started": started, "seconds": seconds, **plain, **more}


def document(*steps: dict[str, Any], spans: object = (), **more: object) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": {
            "id": "0123456789ab",
            "command": "delphi-agent init",
            "pid": 1,
            "pid_started": None,
            "started_at": "2026-01-02T03:04:05.000+00:00",
            "began_ticks": None,
            "seconds": 10.0,
        },
        "outcome": "verified",
        "exit_code": 0,
        "steps": list(steps),
        "spans": spans,
        "spans_left_out": 0,
        **more,
    }


RUN = document(
    step("manifest", 0.0, 1.0),
    step("registry", 0.0, 0.5),
    step("values", 1.0, 3.0),
    step("bundle", 1.0, 1.0),
    step("up", 4.0, 6.0),
    spans=[
        span("aws", "ssm:GetParametersByPath", "values", 1.0, 2.5, count=1, attempts=3),
        span("aws", "s3:GetObject", "bundle", 1.0, 1.0, count=2000, attempts=2007, failed=1, error="SlowDown"),
        span("service", "api", "up", 5.0, 5.0),
    ],
)


def text(made: dict[str, Any], width: int = 100, *, utf8: bool = False, colour: bool = False) -> list[str]:
    return waterfall_text.draw(waterfall.of(made), width, utf8=utf8, colour=colour)


def line_of(made: list[str], name: str) -> str:
    (found,) = [line for line in made if re.match(rf"[* ][x>! ] +{re.escape(name)}(\s|$)", line)]
    return found


def bar_of(line: str) -> tuple[int, int]:
    """From which column to which the bar goes."""
    (found,) = list(re.finditer(r"(?<= )(=+|-+|\|)(?= |$)", line))
    return found.span()


# --- what the picture has


def test_each_step_is_followed_by_what_it_did() -> None:
    assert [bar.name for bar in waterfall.of(RUN).bars] == [
        "manifest",
        "registry",
        "values",
        "ssm:GetParametersByPath",
        "bundle",
        "s3:GetObject x 2,000",
        "up",
        "service api",
    ]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=12),
    st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), max_size=12),
    st.integers(1, 200),
)
def test_any_times_can_be_drawn(steps: list[tuple[float, float]], spans: list[tuple[float, float]], width: int) -> None:
    made = document(
        *(step(f"s{number}", at, took) for number, (at, took) in enumerate(steps)),
        spans=[span("aws", "x", f"s{number % 7}", at, took) for number, (at, took) in enumerate(spans)],
    )
    picture = waterfall.of(made)

    assert len(picture.bars) == len(steps) + len(spans)
    assert picture.path_seconds <= picture.seconds + 0.005 * len(steps) + 1e-6
    assert max(map(len, text(made, width))) <= max(width, waterfall_text.NARROWEST)
    ET.fromstring(waterfall_svg.draw(picture))


def test_steps_that_made_the_run_as_long_as_it_was_are_the_path() -> None:
    picture = waterfall.of(RUN)

    assert [bar.name for bar in picture.bars if bar.path] == ["manifest", "values", "up"]
    assert (picture.path_seconds, picture.seconds) == (10, 10)


def test_each_step_has_its_share_of_the_run() -> None:
    shares = {bar.name: bar.share for bar in waterfall.of(RUN).bars if bar.kind == "step"}

    assert shares == {"manifest": 0.1, "registry": 0.05, "values": 0.3, "bundle": 0.1, "up": 0.6}


def test_retries_and_failures_are_noted() -> None:
    notes = {bar.name: (bar.state, bar.note) for bar in waterfall.of(RUN).bars if bar.note}

    assert notes == {
        "ssm:GetParametersByPath": ("done", "2 retries"),
        "s3:GetObject x 2,000": ("done", "7 retries, 1 failed: SlowDown"),
    }


def test_what_a_step_did_again_is_below_its_second_time() -> None:
    made = document(
        step("up", 0.0, 1.0),
        step("up", 5.0, 1.0),
        spans=[span("command", "docker compose up", "up", at, 1.0) for at in (0.0, 5.0)],
    )

    assert [bar.kind for bar in waterfall.of(made).bars] == ["step", "command", "step", "command"]


def test_what_belongs_to_no_step_comes_last() -> None:
    made = document(step("up", 0.0, 1.0), spans=[span("aws", "sts:X", "elsewhere", 0.0, 1.0)])

    assert [bar.name for bar in waterfall.of(made).bars] == ["up", "sts:X"]


def test_a_failed_step_has_its_error_code() -> None:
    made = document(step("pull", 0.0, 10.0, state="failed", error="long", error_code="image-missing"))
    (bar,) = waterfall.of(made).bars

    assert (bar.state, bar.note) == ("failed", "image-missing")
    line = line_of(text(made), "pull")
    assert line.startswith("*x pull")
    assert "image-missing" in "\n".join(text(made))
    assert 'class="failed"' in waterfall_svg.draw(waterfall.of(made))


def test_a_run_that_goes_on_is_drawn_up_to_now() -> None:
    made = document(step("pull", 1.0, None, waiting_for="the registry"), outcome="running", exit_code=None)
    made["run"] |= {"seconds": None, "began_ticks": processes.now() - processes.ticks(60)}
    picture = waterfall.of(made)

    assert picture.seconds == pytest.approx(60, abs=5)
    assert (picture.bars[0].end, picture.bars[0].state) == (picture.seconds, "running")
    assert picture.bars[0].note == "waiting for the registry"
    assert picture.title.startswith("delphi-agent init: running for ")


def test_a_run_that_died_is_drawn_as_far_as_it_is_known() -> None:
    made = document(step("bundle", 0.0, 2.0), step("pull", 2.0, None), outcome="died", exit_code=None)
    made["run"] |= {"seconds": None, "began_ticks": 1}
    made["spans"] = [span("image", "host/app:1", "pull", 3.0, 4.0)]

    assert waterfall.of(made).seconds == 7


def test_a_status_of_an_older_agent_has_its_steps() -> None:
    made = document(step("pull", 0.0, 1.0))
    for name in ("spans", "spans_left_out"):
        del made[name]
    del made["run"]["began_ticks"]
    del made["steps"][0]["error_code"]

    assert [bar.name for bar in waterfall.of(made).bars] == ["pull"]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": None},
        {"steps": [{}]},
        {"steps": [step("pull", float("nan"), 1.0)]},
        {"steps": [step("pull", 0.0, 1.0, started=True)]},
        {"steps": [step("pull", 0.0, 1.0, seconds="long")]},
        {"spans": [7]},
        {"spans": [span("aws", "x", "pull", float("inf"), 1.0)]},
        {"run": []},
    ],
)
def test_a_document_that_is_no_status_is_an_error_that_says_so(change: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="not as this agent writes it"):
        waterfall.of(document(step("pull", 0.0, 1.0)) | change)


# --- the terminal


def test_bars_are_where_their_times_are() -> None:
    made = text(RUN, 100)
    start, end = bar_of(line_of(made, "up"))
    left = bar_of(line_of(made, "manifest"))[0]
    room = 100 - left

    assert (start, end) == (left + int(room * 0.4), 100)
    assert bar_of(line_of(made, "values")) == (left + room // 10, left + int(room * 0.4 + 0.999))
    assert left + int(room * 0.5) == bar_of(line_of(made, "service api"))[0]


def test_a_moment_is_a_stroke_and_never_outside_of_the_page() -> None:
    made = text(document(step("lock", 0.0, 0.0), step("prune", 10.0, 0.0)))

    assert "|" in line_of(made, "lock")
    assert line_of(made, "prune").endswith("|")
    assert len(line_of(made, "prune")) == 100


@pytest.mark.parametrize("width", [1, 60, 80, 100, 237])
@pytest.mark.parametrize("utf8", [True, False])
def test_no_line_is_wider_than_the_page(width: int, *, utf8: bool) -> None:
    made = text(RUN | {"spans_left_out": 9}, width, utf8=utf8)

    assert max(map(len, made)) <= max(width, waterfall_text.NARROWEST)
    assert made[-1] == "9 more were not kept"
    assert any(name in line for name in ("2 retries", "retries, 1") for line in made)


def test_colours_are_only_there_when_asked_for() -> None:
    plain, painted = "\n".join(text(RUN)), "\n".join(text(RUN, colour=True))

    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain
    assert "\x1b[36m" in painted


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_moves_the_cursor_or_breaks_the_page(name: str) -> None:
    for utf8 in (True, False):
        made = text(_named(name), utf8=utf8)
        assert all(line.isprintable() for line in made)
        assert "".join(made).isascii() or utf8


def _named(name: str) -> dict[str, Any]:
    kinds = ("aws", "imds", "command", "image", "service", name)
    made = document(
        step(name, 0.0, 1.0, state="failed", error_code=name),
        step("verify", 1.0, None, waiting_for=name),
        spans=[span(kind, name, name, 0.5, 1.0, failed=1, error=name) for kind in kinds],
        outcome=name,
    )
    made["run"] |= {"command": name, "id": name, "started_at": name}
    return made


# --- the picture


@pytest.mark.parametrize("name", HOSTILE)
def test_the_picture_is_well_formed_whatever_the_names_are(name: str) -> None:
    drawn = waterfall_svg.draw(waterfall.of(_named(name)))
    root = ET.fromstring(drawn.encode())

    names = {item.tag.removeprefix(SVG) for item in root.iter()}
    assert names == {"svg", "title", "style", "rect", "text", "path", "g"}
    assert [key for item in root.iter() for key in item.attrib if key.startswith("on")] == []
    assert len(drawn) < 100_000


def test_the_picture_stands_alone_and_says_of_every_bar_what_it_is() -> None:
    picture = waterfall.of(RUN)
    root = ET.fromstring(waterfall_svg.draw(picture))
    groups = root.findall(f"{SVG}g")

    assert len(groups) == len(picture.bars)
    titles = [group.findtext(f"{SVG}title") for group in groups]
    assert titles[3] == "ssm:GetParametersByPath: 2.500 s from 1.000 s on, in values: 2 retries"
    assert titles[6] == "up: 6.000 s from 4.000 s on, 60% of the run"
    assert re.findall(r"(?:href|url\(|@import|src=)", waterfall_svg.draw(picture)) == []
    assert "prefers-color-scheme:dark" in waterfall_svg.draw(picture)


def test_bars_of_the_picture_are_where_their_times_are_and_within_it() -> None:
    root = ET.fromstring(waterfall_svg.draw(waterfall.of(RUN)))
    bars = [group.find(f"{SVG}rect") for group in root.findall(f"{SVG}g")]
    places = [(float(bar.get("x", "")), float(bar.get("width", ""))) for bar in bars if bar is not None]
    left, room = places[0][0], places[0][1] * 10

    assert places[6] == pytest.approx((left + 0.4 * room, 0.6 * room), abs=0.5)
    assert left + room <= waterfall_svg.WIDTH
    assert min(width for _, width in places) > 0


def test_no_text_of_the_picture_begins_outside_of_it() -> None:
    late = document(*(step(f"s{n}", n / 2, 0.4, state="failed", error_code="compose-file-invalid") for n in range(20)))
    root = ET.fromstring(waterfall_svg.draw(waterfall.of(late)))

    for item in root.iter(f"{SVG}text"):
        assert 0 <= float(item.get("x", "")) <= waterfall_svg.WIDTH


# --- the scale


@given(st.floats(0.0, 1e6), st.integers(1, 50))
@example(0.6, 3)
def test_the_scale_is_round_and_bounded(seconds: float, most: int) -> None:
    made = ticks(seconds, most)

    assert made[0] == 0
    assert len(made) <= most
    assert made[-1] <= seconds + 1e-6


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (0.05, "0.05 s"), (12, "12 s"), (60, "1 min"), (90, "1 min 30 s")]
)
def test_times_of_the_scale_are_short(seconds: float, shown: str) -> None:
    assert tick_text(seconds) == shown


# --- the command


def run(root: Path, *arguments: str) -> tuple[int, str]:
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")  # a pipe
    parsed = parser().parse_args(["--root", str(root), "timeline", *arguments])
    code = timeline.run(parsed, Surroundings(environ={}, out=out, err=io.StringIO(), argv=["timeline"]))
    out.seek(0)
    return code, out.read()


def write(root: Path, made: dict[str, Any]) -> None:
    path = Paths(root).status
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made))


def test_off_a_terminal_it_is_plain_ascii_of_a_hundred_columns(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    code, out = run(tmp_path)

    assert code == 0
    assert out.isascii()
    assert "\x1b" not in out
    assert out.splitlines() == text(RUN, 100)


class Terminal(io.TextIOWrapper):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "encoding", "utf8", "colour"),
    [
        ({"TERM": "xterm"}, "utf-8", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "utf-8", True, False),
        ({"TERM": "dumb"}, "utf-8", True, False),
        ({"TERM": "xterm"}, "ascii", False, True),
    ],
)
def test_on_a_terminal_it_is_what_the_terminal_can_show(
    tmp_path: Path, environ: dict[str, str], encoding: str, *, utf8: bool, colour: bool
) -> None:
    write(tmp_path, RUN)
    out = Terminal(io.BytesIO(), encoding)
    parsed = parser().parse_args(["--root", str(tmp_path), "timeline", "--width", "90"])
    timeline.run(parsed, Surroundings(environ=environ, out=out, err=io.StringIO(), argv=["timeline"]))
    out.seek(0)

    assert out.read().splitlines() == text(RUN, 90, utf8=utf8, colour=colour)


def test_a_failed_run_is_drawn_and_that_is_no_failure(tmp_path: Path) -> None:
    write(tmp_path, RUN | {"outcome": "failed", "exit_code": 76})
    code, out = run(tmp_path, "--width", "80")

    assert code == 0
    assert out.startswith("delphi-agent init: failed after 10.0 s, exit 76\n")
    assert out.splitlines() == text(RUN | {"outcome": "failed", "exit_code": 76}, 80)


def test_a_picture_is_written_to_a_file_in_one_move(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    target = tmp_path / "run.svg"
    target.write_text("before")
    before = target.stat().st_ino
    code, out = run(tmp_path, "--svg", "--output", str(target))

    assert (code, out) == (0, "")
    assert target.stat().st_ino != before
    assert target.stat().st_mode & 0o777 == 0o644
    assert target.read_text() == run(tmp_path, "--svg")[1] == waterfall_svg.draw(waterfall.of(RUN))


def test_as_a_document_it_has_the_times_of_the_status_and_what_is_made_of_them(tmp_path: Path) -> None:
    write(tmp_path, RUN)
    code, out = run(tmp_path, "--json")
    shown = json.loads(out)

    assert code == 0
    assert (shown["schema"], shown["seconds"], shown["path"]) == (1, 10, ["manifest", "values", "up"])
    assert shown["spans"] == list(RUN["spans"])
    assert {"step": "up", "share": 0.6} in shown["shares"]


def test_without_a_run_it_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="none since this host started") as caught:
        run(tmp_path, "--svg")

    assert caught.value.exit_status == 69
    assert "delphi-agent init" in caught.value.next_step
    assert run(tmp_path, "--json") == (69, '{\n "schema": 1,\n "run": null\n}\n')


@pytest.mark.parametrize("argv", [["--svg", "--json"], ["--width", "59"], ["--width", "²"], ["--width", "1001"]])
def test_a_wrong_command_line_is_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["timeline", *argv])

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
