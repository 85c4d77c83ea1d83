"""The same package on the next Debian: another systemd (257), another Python (3.13), another cloud-init and engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.image import enable, user_data, verified
from tests.boot.instance import Instance
from tests.boot.site import Site, rootfs
from tests.lab.aws import Fault
from tests.lab.process import LabError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("DELPHI_LONG"), reason="another root file system: check.sh --long makes it"),
]


@pytest.fixture(scope="module")
def trixie(deb: Path) -> Iterator[Site]:
    try:
        with Site(rootfs("trixie"), deb) as started:
            yield started
    except LabError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def booted(trixie: Site) -> Iterator[Instance]:
    """One that was brought up by its user data; the tests come in an order in which it stays up."""
    made = trixie.instance("trixie")
    trixie.imds.set("user-data", user_data(trixie, "delphi-agent init"))
    enable(made)
    made.boot()
    made.wait_unit("delphi-agent.target", "active")
    yield made
    made.remove()


def test_a_first_boot_with_user_data_is_one_verified_deploy(booted: Instance) -> None:
    assert booted.wait_settled() == "running", booted.run("systemctl", "--failed").stdout
    # The unit, which finds the bootstrap file, may be done when the user data's `init` comes: that has nothing to do.
    first, *others = verified(booted)
    assert (first, set(others)) in [("verified", set()), ("verified", {"unchanged"})]
    assert booted.run("systemctl", "--version").stdout.startswith("systemd 257")


def test_there_is_byte_code_for_its_python(booted: Instance) -> None:
    tag = booted.run("python3", "-c", "import sys; print(sys.implementation.cache_tag)").stdout.strip()

    assert tag != "cpython-311", "the one that the package brings"
    modules = list(booted.path("/usr/lib/delphi-agent/agent").rglob("*.py"))
    assert modules
    assert [path for path in modules if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()] == []


def test_a_reboot_recreates_nothing(booted: Instance) -> None:
    before, runs = booted.containers(), len(booted.history())

    booted.reboot()

    booted.wait_unit("delphi-agent.target", "active")
    assert booted.containers() == before
    assert verified(booted)[runs:] == ["unchanged"]


def test_a_second_attempt_that_succeeds_reaches_the_target(trixie: Site, booted: Instance) -> None:
    trixie.aws.add_fault(Fault(".*", status=500, code="InternalError", times=None))
    try:
        booted.reboot()
        booted.wait_status(69)
        assert booted.unit("delphi-agent.target") == "inactive"
    finally:
        trixie.aws.clear_faults()

    booted.wait_unit("delphi-agent.target", "active")
