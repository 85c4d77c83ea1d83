"""The lock files pin everything, and what is installed is what they say."""

from __future__ import annotations

import importlib.metadata
import re

import pytest

from tests.packaging.checkout import CHECKOUT, pyproject

FILES = ["locked.txt", "locked-dev.txt"]


def read(name: str) -> dict[str, tuple[str, int]]:
    """Package -> version and number of hashes."""
    text = (CHECKOUT / "packaging" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    packages = {}
    for line in lines:
        found = re.match(r"([a-z0-9-]+)==([^ ]+)(?: ; [^-]+?)?((?: +--hash=sha256:[0-9a-f]{64})+)$", line)
        assert found, line
        packages[found.group(1)] = found.group(2), found.group(3).count("--hash")
    return packages


def normal(requirement: str) -> str:
    """The name of a requirement as lock files write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=\[ ;]", requirement)[0]).lower()


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_a_version_with_hashes_and_nothing_else(name: str) -> None:
    assert all(count >= 1 for _, count in read(name).values())


def test_what_is_tested_is_what_is_shipped() -> None:
    runtime, everything = (read(name) for name in FILES)

    assert {name: everything[name] for name in runtime} == runtime


def test_all_that_the_project_asks_for_is_locked() -> None:
    project = pyproject()["project"]
    runtime, everything = (read(name) for name in FILES)

    assert {normal(item) for item in project["dependencies"]} <= set(runtime)
    assert {normal(item) for item in project["optional-dependencies"]["dev"]} <= set(everything)


def test_compiled_packages_are_locked_for_every_python_and_processor() -> None:
    # A wheel for each of three Pythons on two processors, and the sources.
    assert read("locked.txt")["pyyaml"][1] >= 7


def test_what_is_installed_is_what_is_locked() -> None:
    installed = {
        normal(package.name): package.version
        for package in importlib.metadata.distributions()
        if package.name not in {"pip", "setuptools", "delphi-agent"}
    }

    assert installed == {name: version for name, (version, _) in read("locked-dev.txt").items()}
