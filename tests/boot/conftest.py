"""Fixtures of the boot tests: one site for the whole session, new disks for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.site import Site, rootfs
from tests.lab.host import CHECKOUT
from tests.lab.process import LabError


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from the checkout."""
    folder = tmp_path_factory.mktemp("packages")
    command = ["sh", str(CHECKOUT / "packaging/build.sh"), "--out", str(folder), "--only", "deb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.deb")
    return made


@pytest.fixture(scope="session")
def site(deb: Path) -> Iterator[Site]:
    """AWS, the metadata service and a registry, and an image with the package in it."""
    try:
        with Site(rootfs(), deb) as started:
            yield started
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
