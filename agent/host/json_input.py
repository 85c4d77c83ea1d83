"""JSON that somebody else wrote, as values. The only module that calls `json.loads`.

Python's reader ends with a `RecursionError` where text is nested deep enough, and what it still takes may be too deep
for whoever walks through it afterwards. Here both are what every other bad JSON is: a `ValueError`.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import Any

# As jq 1.6 has it; a compose model has about ten.
MOST_LEVELS = 256


def loads(data: str | bytes, **hooks: Any) -> Any:  # noqa: ANN401 - as json.loads: what JSON holds, only its reader knows
    """The value; `hooks` are those of `json.loads`. Raises `ValueError` for what is no JSON, or nested too deep."""
    too_deep = f"nested deeper than {MOST_LEVELS} levels"
    try:
        value = json.loads(data, **hooks)  # noqa: TID251 - this is where it is bounded
    except RecursionError:
        raise ValueError(too_deep) from None
    if _is_deeper(value):
        raise ValueError(too_deep)
    return value


def _is_deeper(value: object) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return False
    return True
