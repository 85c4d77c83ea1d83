"""What a resolution comes to: each variable's value with where it is from, and the environment for Compose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field

from agent.dataclass import dataclass
from agent.secret import Secret
from agent.variables.sources import Look, Source


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """One variable's value and where it is from; `beaten` are the places whose value it won over, the nearest first."""

    name: str
    value: Secret
    source: Source
    origin: str
    sensitive: bool
    beaten: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Every declared variable that has a value, in the manifest's order.

    `environment` is what Compose gets: these, and all other bootstrap variables but the AWS keys and the names that
    steer the host. `looked` tells for each declared variable what was found where (the place that wins over all others
    last), `reasons` why it is required.
    """

    variables: Mapping[str, Resolved]
    environment: Mapping[str, Secret]
    warnings: tuple[str, ...]
    looked: Mapping[str, tuple[Look, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many values came from each kind of source."""
        sources = [resolved.source for resolved in self.variables.values()]
        return {source.value: sources.count(source) for source in Source if source in sources}

    def secrets(self) -> Iterator[Secret]:
        """Every value that must be taken out of what others write."""
        return (resolved.value for resolved in self.variables.values() if resolved.sensitive and resolved.value)
