"""The machine that everything was measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def machine() -> str:
    """Cores, memory, processor and kernel: `2 cores of ..., 24 GiB, Linux 6.18`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found[1] if found else platform.machine()
    release = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores of {processor}, {memory:.0f} GiB, Linux {release}"
