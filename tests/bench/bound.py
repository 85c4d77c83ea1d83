"""The least time that a rerun can wait for AWS: the longest chain of calls of which each needs the one before.

Counted from when the credentials are known, in round trips, everything that does not depend on each other side by
side: connections are opened before they are needed, and what is shorter than the chain (secrets, the registry's token)
costs nothing.
"""

from __future__ import annotations

from tests.bench.answers import SSM_PAGE
from tests.bench.worlds import Spec

HANDSHAKE = 2
"""TCP's, and TLS 1.3's."""


def chain(spec: Spec) -> list[tuple[str, int]]:
    """What is waited for, one after the other, with its round trips.

    The manifest says which service's parameters are wanted, and the values which images: so neither the pages nor the
    registry can be asked before.
    """
    return [
        ("S3: the connection", HANDSHAKE),
        ("S3: the listing of the bundle", 1),
        ("S3: its manifest", 1),
        ("SSM: pages by path, each with the token of the one before", -(-spec.parameters // SSM_PAGE)),
        ("registry: the engine's connection", HANDSHAKE),
        ("registry: its greeting, which asks for a login", 1),
        ("registry: whether the tag still is the same image", 1),
    ]


def round_trips(spec: Spec) -> int:
    """How long the chain is."""
    return sum(times for _, times in chain(spec))
