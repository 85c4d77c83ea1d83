"""Templates of the manifest: `${NAME}` inside text (contract section 3).

Only `${NAME}` is replaced. Every other `$` is text: `$NAME`, `$$`, `${NAME:-x}`, `${}`. What is put in is never looked
at again, so a password that holds `${X}` stays as it is.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import field
from graphlib import CycleError, TopologicalSorter

from agent.dataclass import dataclass

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOOKS_MEANT = re.compile(r"\$\{(?![A-Za-z_][A-Za-z0-9_]*\})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CHANGES_A_URL = re.compile(r"[:/@?#\[\]% ]")


@dataclass(frozen=True)
class Template:
    """A template's text, and how it puts values in: percent-encoded when `encode_url`, else as they are."""

    text: str = field(repr=False)
    encode_url: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that it draws on, each once, in the order of their first use."""
        return tuple(dict.fromkeys(_REFERENCE.findall(self.text)))

    @property
    def has_unread_form(self) -> bool:
        """Whether it holds a `${` that is text here but would mean something to a shell or to Compose."""
        return bool(_LOOKS_MEANT.search(self.text))

    def render(self, value_of: Callable[[str], str]) -> str:
        """The text with every `${NAME}` replaced by `value_of(NAME)`."""
        return _REFERENCE.sub(lambda match: self._written(value_of(match[1])), self.text)

    def changes_url(self, value: str) -> bool:
        """Whether `value`, put in as it is, would be read as a part of the URL's structure."""
        return not self.encode_url and bool(_SCHEME.search(self.text) and _CHANGES_A_URL.search(value))

    def _written(self, value: str) -> str:
        if not self.encode_url:
            return value
        return urllib.parse.quote(value.encode("utf-8", "surrogateescape"), safe="")


def order(templates: Mapping[str, Template]) -> tuple[str, ...]:
    """The templates' names, each after those that it draws on. There must be no cycle (`find_cycle`)."""
    return tuple(name for name in TopologicalSorter(_graph(templates)).static_order() if name in templates)


def find_cycle(templates: Mapping[str, Template]) -> tuple[str, ...]:
    """A path of templates that leads back to its start (`A`, `B`, `A`: A draws on B, B on A); empty when none does."""
    try:
        TopologicalSorter(_graph(templates)).prepare()
    except CycleError as error:
        # graphlib's path goes from what is drawn on to what draws on it.
        return tuple(reversed(error.args[1]))
    return ()


def _graph(templates: Mapping[str, Template]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(part for part in template.names if part in templates) for name, template in templates.items()}
