"""Fixtures of the boot tests: one site for the whole session, new disks for each test."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.instance import Instance
from tests.boot.site import Site, rootfs
from tests.lab.host import CHECKOUT
from tests.lab.process import LabError

# What every run has: the first boot, reboots, power losses. Of the others each day has some, DELPHI_LONG=1 has all.
_ALWAYS = ("test_a_first_boot_with_user_data", "test_reboots", "test_after_a_power_loss")
_PARTS = 4


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the boots of other days; a run that names its tests one by one gets what it names."""
    if os.environ.get("DELPHI_LONG") or any("::" in argument for argument in config.args):
        return
    today = dt.datetime.now(dt.UTC).date().toordinal()
    here = Path(__file__).parent
    left_out = [
        item
        for item in items
        if item.path.parent == here
        and not item.name.startswith(_ALWAYS)
        and (zlib.crc32(item.name.encode()) + today) % _PARTS != 0
    ]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from the checkout."""
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a later version."""
    return build(tmp_path_factory.mktemp("newer"), "--version", "99.0")


def build(folder: Path, *options: str) -> Path:
    """The package, in `folder`."""
    command = ["sh", str(CHECKOUT / "packaging/build.sh"), "--out", str(folder), "--only", "deb", *options]
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


@pytest.fixture
def instance(site: Site, request: pytest.FixtureRequest) -> Iterator[Instance]:
    made = site.instance(f"i{abs(hash(request.node.name)) % 10_000}")
    yield made
    made.remove()
