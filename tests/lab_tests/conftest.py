"""Makes the lab's fixtures known to the tests of this folder."""

from __future__ import annotations

from tests.lab.fixtures import instance, lab

__all__ = ["instance", "lab"]
