"""How deep and how large a YAML document may be; held while it is composed, so that it is read once.

PyYAML's scanner in Python takes most of the time that a manifest costs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yaml import MarkedYAMLError
    from yaml.error import Mark

MOST_LEVELS = 40
MOST_EVENTS = 400_000

# Names of anchors and tags; a single character that is in the wrong place is worth telling.
_QUOTED = re.compile(r"'[\w!-]{2,}'")


class OutOfBoundsError(Exception):
    """What is beyond a bound, and where it begins."""

    def __init__(self, text: str, mark: Mark | None) -> None:
        super().__init__(text)
        self.text, self.mark = text, mark


def problem(error: MarkedYAMLError) -> str:
    """What PyYAML says is wrong, without what it quotes of the file: that may be a secret."""
    return _QUOTED.sub("...", ", ".join(filter(None, (error.context, error.problem))))


def bounded(text: str, documents: int = 1) -> Any:  # noqa: ANN401 - its class is made here, of one of two of PyYAML's
    """A loader of `text`, for its `get_single_node` or `get_node`: `OutOfBoundsError` before it goes beyond a bound."""
    import yaml

    class Bounds:
        levels = events = begun = 0

        def get_event(self) -> Any:  # noqa: ANN401 - as PyYAML has it
            event: Any = super().get_event()  # type: ignore[misc] # of the loader that it is mixed with
            self.events += 1
            self.levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            self.begun += isinstance(event, yaml.DocumentStartEvent)
            if self.begun > documents:
                raise OutOfBoundsError("a second document begins; a manifest is one document", event.start_mark)
            if self.levels > MOST_LEVELS:
                raise OutOfBoundsError(f"nested deeper than {MOST_LEVELS} levels", event.start_mark)
            if self.events > MOST_EVENTS:
                raise OutOfBoundsError("too large for a manifest", event.start_mark)
            return event

    fast: Any = getattr(yaml, "CSafeLoader", None)
    if fast is None:
        return type("Bounded", (Bounds, yaml.SafeLoader), {})(text)
    # libyaml's parser composes by itself and asks for no event: PyYAML's composer takes its place.
    made = type("Bounded", (Bounds, yaml.composer.Composer, fast), {"__init__": fast.__init__})(text)
    made.anchors = {}
    return made
