"""The staged tree as a plan lets Compose see it: links of the host's own files lead to where the live ones are seen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agent.steps import view


def planted(tmp_path: Path) -> tuple[Path, Path, Path]:
    services, live, staged = tmp_path / "services", tmp_path / "run/live", tmp_path / "services/.staging"
    for path in ("api/tls/key", "api/old", "common/x", "other/y"):
        (services / path).parent.mkdir(parents=True, exist_ok=True)
        (services / path).write_text(f"live {path}")
    (staged / "api/sub").mkdir(parents=True)
    (staged / "api/new").write_text("staged")
    (staged / "api/tls").symlink_to(services / "api/tls")
    (staged / "api/sub/key").symlink_to(services / "api/tls/key")
    (staged / "api/else").symlink_to("/etc/passwd")
    (tmp_path / "run").mkdir()
    return services, live, staged


def test_links_into_the_live_folder_lead_to_its_other_place_and_no_other_link_does(tmp_path: Path) -> None:
    services, live, staged = planted(tmp_path)

    words = view.prepare(services, live, staged)

    assert words[-3:] == (str(services), str(live), str(staged))
    assert (staged / "api/tls").readlink() == live / "api/tls"
    assert (staged / "api/sub/key").readlink() == live / "api/tls/key"
    assert (staged / "api/else").readlink() == Path("/etc/passwd")
    assert (staged / "other").readlink() == live / "other"
    assert not (staged / ".staging").exists()


def test_a_child_sees_the_new_files_under_the_live_paths_and_the_host_sees_nothing_of_it(tmp_path: Path) -> None:
    services, live, staged = planted(tmp_path)
    words = view.prepare(services, live, staged)
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this process may not make a mount namespace")

    paths = [str(services / path) for path in ("api/new", "api/tls/key", "api/sub/key", "other/y")]
    shown = subprocess.run([*words, "cat", *paths], capture_output=True, text=True, check=True).stdout

    assert shown == "stagedlive api/tls/keylive api/tls/keylive other/y"
    gone = subprocess.run([*words, "cat", str(services / "api/old")], capture_output=True, check=False)
    assert gone.returncode != 0
    assert list(live.iterdir()) == []
    assert (services / "api/old").read_text() == "live api/old"
