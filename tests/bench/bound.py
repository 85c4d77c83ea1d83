"""The least time that a rerun can wait for AWS: the longest chain of calls of which each needs the one before.

Counted from when the credentials are known, in round trips, everything that does not depend on each other side by
side. A rerun knows from the run before what it will most likely need: the manifest, and so the parameters' path and
the secrets' prefix, and the images. It asks for all of that at once; what the bucket says afterwards confirms it.
"""

from __future__ import annotations

from tests.bench.answers import SSM_PAGE
from tests.bench.worlds import Spec

HANDSHAKE = 2
"""TCP's, and TLS 1.3's."""


def chains(spec: Spec) -> dict[str, list[tuple[str, int]]]:
    """What is waited for, one after the other, with its round trips; the chains do not wait for each other."""
    connection = ("the connection", HANDSHAKE)
    pages = -(-spec.parameters // SSM_PAGE)
    return {
        "S3": [connection, ("the listing of the bundle", 1)],
        "SSM": [connection, ("pages by path, each with the token of the one before", pages)],
        "Secrets Manager": [connection, ("the list of secrets", 1), ("their values", 1)],
        "ECR": [
            connection,
            ("the token", 1),
            ("the connection to the registry", HANDSHAKE),
            ("what the tags name, as many connections side by side", 1),
        ],
    }


def round_trips(spec: Spec) -> int:
    """How long the longest chain is."""
    return max(sum(times for _, times in chain) for chain in chains(spec).values())


def lines(spec: Spec) -> list[str]:
    """Each chain in a line."""
    return [
        f"{name}, {sum(times for _, times in chain)}: {', '.join(f'{what} ({times})' for what, times in chain)}"
        for name, chain in chains(spec).items()
    ]
