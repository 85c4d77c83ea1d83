"""Makes the lab's fixtures known to the tests of this folder, and chooses which fault cells today's run has."""

from __future__ import annotations

import datetime as dt
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.fixtures import instance, lab

if TYPE_CHECKING:
    import pytest

__all__ = ["instance", "lab"]

# Files in which every test is one broken world, and those in which every test is one deploy: each day has so many-th of
# their tests, DELPHI_LONG=1 has all. A whole check has to end in less than twenty minutes.
WORLDS, DEPLOYS = 6, 3
ROTATING = {
    **dict.fromkeys(
        "aws_faults bundle daemon_json doctor identity imds proxy support_bundle bad_input resolution_denied".split(),
        WORLDS,
    ),
    **dict.fromkeys(
        "children commands hooks hostile images lab_faults media plan recreate resolution_canaries restore signals"
        " update verify".split(),
        DEPLOYS,
    ),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cells of other days; a run that names its tests one by one gets what it names."""
    if os.environ.get("DELPHI_LONG") or any("::" in argument for argument in config.args):
        return
    today = dt.datetime.now(dt.UTC).date().toordinal()
    left_out = [
        item
        for item in items
        if item.path.parent == Path(__file__).parent  # not those of the same name that need no lab
        and (parts := ROTATING.get(item.path.stem.removeprefix("test_")))
        and (zlib.crc32(item.nodeid.encode()) + today) % parts != 0
    ]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
