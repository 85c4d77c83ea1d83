"""Makes the lab's fixtures known to the tests of this folder, and chooses which fault cells today's run has."""

from __future__ import annotations

import datetime as dt
import os
import zlib
from typing import TYPE_CHECKING

from tests.lab.fixtures import instance, lab

if TYPE_CHECKING:
    import pytest

__all__ = ["instance", "lab"]

# Files in which every test is one broken world: each day has every third of them, DELPHI_LONG=1 has all.
ROTATING = frozenset(
    f"test_{name}.py"
    for name in ("aws_faults", "bundle", "daemon_json", "doctor", "identity", "imds", "proxy", "support_bundle")
)
PARTS = 3


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cells of other days; a run that names its tests one by one gets what it names."""
    if os.environ.get("DELPHI_LONG") or any("::" in argument for argument in config.args):
        return
    today = dt.datetime.now(dt.UTC).date().toordinal()
    left_out = [
        item for item in items if item.path.name in ROTATING and (zlib.crc32(item.nodeid.encode()) + today) % PARTS != 0
    ]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
