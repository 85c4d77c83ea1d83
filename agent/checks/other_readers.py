"""Where python-dotenv, as many tools do, reads another value from the bootstrap file than bash does.

The agent reads what bash reads (contract section 2); Compose files, editors and scripts around it may not.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping


def read_otherwise(data: bytes, values: Mapping[str, str]) -> list[str]:
    """The names in `values` (as bash reads `data`) that python-dotenv gives another value, or none."""
    from dotenv import dotenv_values

    # It tells of lines that it cannot read in a log of its own; here such a line is a name that it does not give.
    logging.getLogger("dotenv.main").addFilter(lambda _: False)
    text = data.decode("utf-8-sig", "surrogateescape")
    read = dotenv_values(stream=io.StringIO(text))
    return [name for name, value in values.items() if read.get(name) != value]
