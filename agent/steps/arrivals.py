"""When each service came up and was well, for the timeline."""

from __future__ import annotations

from collections.abc import Iterable

from agent.report import record
from agent.report.spans import Doing
from agent.steps.verdict import Health


class Arrivals:
    """Told of every look at the services of one start, keeps when each was first seen well, or seen to have failed.

    A service comes up when its container is started, by the kernel; one that ran before, when it was first looked at.
    """

    def __init__(self) -> None:
        self._doing: dict[str, Doing] = {}

    def saw(self, seen: Iterable[Health]) -> None:
        """One look."""
        for item in seen:
            if item.container is None:
                continue
            if item.service not in self._doing:
                self._doing[item.service] = record.doing("service", item.service, ago=item.container.up or 0.0)
            if item.verdict == "well":
                self._doing[item.service].end()
            elif item.verdict == "failed":
                self._doing[item.service].end(item.state)
