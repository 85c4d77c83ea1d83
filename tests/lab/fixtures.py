"""pytest fixtures; `pytest_plugins = ["tests.lab.fixtures"]` in a conftest.py makes them known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab
from tests.lab.process import LabError


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab for the whole session. Without root, or with something missing, it fails and says what to do."""
    try:
        started = Lab()
        started.start()
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
    yield started
    started.stop()


@pytest.fixture
def instance(lab: Lab) -> Lab:
    """The lab with a fresh instance in it: the example seeded, the bootstrap file written, nothing deployed."""
    lab.reset()
    return lab
