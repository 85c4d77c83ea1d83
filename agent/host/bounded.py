"""Calls that end, on an object of somebody else's whose own bound does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.host.clock import Deadline
from agent.host.side_by_side import within


class Bounded:
    """The Docker SDK's client, each call of which ends at `patience` with its result or `DeadlineExceeded`.

    The SDK's own bound is for every single read, and a read may bring no more than a byte.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - the SDK's stubs type half of its calls
        self._client = client
        self.patience: Deadline | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method of this name, bounded."""
        method, patience = getattr(self._client, name), self.patience
        assert patience is not None  # noqa: S101 - whoever hands the client out has set it

        def call(*arguments: object, **named: object) -> object:
            self._client.timeout = patience.left()
            return within(patience, name, lambda: method(*arguments, **named))

        return call
