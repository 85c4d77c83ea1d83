"""A sink that only wants to know who began and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

from agent.report.record import Costs, Ending, Level, RunHead, Step


class LastWord:
    """Keeps the head; hears and forgets what comes in between. `ended_as` is called once, at the end."""

    def __init__(self) -> None:
        self._head: RunHead | None = None

    def began(self, head: RunHead) -> None:
        """Which run it is, and who started it."""
        self._head = head

    def started(self, step: Step) -> None:
        """Nothing."""

    def progressed(self, step: Step) -> None:
        """Nothing."""

    def ended(self, step: Step) -> None:
        """Nothing."""

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """Nothing."""

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """The end, for a run that began."""
        if self._head is not None:
            self.ended_as(self._head, ending, seconds)

    def ended_as(self, head: RunHead, ending: Ending, seconds: float) -> None:
        """What to do with it."""
        raise NotImplementedError
