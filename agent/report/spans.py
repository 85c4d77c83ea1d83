"""What a run did below its steps, in time: AWS calls, waits for IMDS, children, images, services that became well.

Names only (an operation, a program, an image, a service), never an argument or a value. Bounded: of what is alike in a
step only the first few are kept apart, then all of them are one span with a count; and in all there are at most `MOST`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Self

from agent.errors import AgentError

Kind = Literal["aws", "imds", "command", "image", "service"]

MOST = 500
# Ten thousand objects are ten thousand calls of one operation.
MOST_ALIKE = 12
NAME_LENGTH = 120
# Of a name that is longer nothing more is kept, nor looked through for secrets.
_MOST_KEPT = 1000


class Span:
    """Something that took time, or `count` of them, which are then told from the first one's begin to the last's end.

    Times are seconds since the run began. `open` are still going on, `failed` ended with an error, the first of which
    is `error`; `attempts` are those of all together.
    """

    # No dataclass: to make one costs more than all spans of a run.
    def __init__(self, kind: Kind, name: str, step: str, started: float) -> None:
        self.kind = kind
        self.name = name
        self.step = step
        self.started = started
        self.ended = 0.0
        self.count = self.open = self.attempts = 1
        self.failed = 0
        self.error = ""

    def fold(self, other: Span) -> None:
        """Count `other` as part of this one."""
        self.started, self.ended = min(self.started, other.started), max(self.ended, other.ended)
        self.count += other.count
        self.open += other.open
        self.attempts += other.attempts
        self.failed += other.failed
        self.error = self.error or other.error


class Doing:
    """One thing that is going on: to be ended by `end` or by a `with` block, whichever comes first."""

    def __init__(self, span: Span, spans: Spans) -> None:
        self.span = span
        self.over = False
        self._spans = spans

    def again(self) -> None:
        """Another attempt begins."""
        self._spans.again(self)

    def end(self, error: str = "") -> None:
        """It is over; `error` is a code or the name of an exception."""
        self._spans.end(self, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.end("" if error is None else error.code if isinstance(error, AgentError) else type(error).__name__)


class Spans:
    """Those of one run; `seconds` says how long it has been at work. Safe across threads."""

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.seconds = seconds
        self.left_out = 0
        self._kept: list[Span] = []
        self._alike: dict[tuple[str, str, str], list[Doing]] = {}
        self._folded: dict[tuple[str, str, str], Span] = {}
        self._lock = threading.Lock()

    def begin(self, kind: Kind, name: str, step: str, ago: float = 0.0) -> Doing:
        """Something begins, or began `ago` seconds before; what began before the run is told from now on."""
        now = self.seconds()
        span = Span(kind, name[:_MOST_KEPT], step, now - ago if ago <= now else now)
        doing, key = Doing(span, self), (kind, span.name, step)
        with self._lock:
            if key in self._folded:
                self._folded[key].fold(span)
                doing.span = self._folded[key]
            elif len(self._alike.get(key, ())) >= MOST_ALIKE:
                self._fold(key, doing)
            elif len(self._kept) >= MOST:
                self.left_out += 1
            else:
                self._kept.append(span)
                self._alike.setdefault(key, []).append(doing)
        return doing

    def _fold(self, key: tuple[str, str, str], last: Doing) -> None:
        """Make one span of all that are alike, in the place of the first of them."""
        parts = self._alike.pop(key)
        whole = self._folded[key] = parts[0].span
        others = {id(part.span) for part in parts[1:]}
        self._kept = [span for span in self._kept if id(span) not in others]
        for doing in [*parts[1:], last]:
            whole.fold(doing.span)
            doing.span = whole

    def again(self, doing: Doing) -> None:
        """One of them is attempted again."""
        with self._lock:
            doing.span.attempts += 1

    def end(self, doing: Doing, error: str) -> None:
        """One of them is over."""
        now = self.seconds()
        with self._lock:
            span = doing.span
            if doing.over or not span.open:
                return
            doing.over = True
            span.open -= 1
            span.ended = max(span.ended, now)
            if error:
                span.failed += 1
                span.error = span.error or error[:_MOST_KEPT]

    def close(self) -> None:
        """The run is over: what still goes on was not ended by anything that happened in it."""
        now = self.seconds()
        with self._lock:
            for span in self._kept:
                if span.open:
                    span.failed, span.open, span.ended = span.failed + span.open, 0, now
                    span.error = span.error or "unfinished"

    def document(self, clean: Callable[[str], str]) -> list[dict[str, object]]:
        """All of them in the order of their begin; `clean` takes secrets out of names."""
        with self._lock:
            kept = sorted(self._kept, key=lambda span: span.started)
            # Few names, often: each is cleaned once.
            shown = {text: _plain(text, clean) for text in {part for span in kept for part in (span.name, span.error)}}
            return [
                {
                    "kind": span.kind,
                    "name": shown[span.name],
                    "step": span.step,
                    "started": round(span.started, 3),
                    "seconds": None if span.open else round(span.ended - span.started, 3),
                    "count": span.count,
                    "attempts": span.attempts,
                    "failed": span.failed,
                    "error": shown[span.error] or None,
                }
                for span in kept
            ]


def _plain(text: str, clean: Callable[[str], str]) -> str:
    """Without secrets, also those that a control character would hide; cut last, so that none is cut in two."""
    text = clean(text)
    if not text.isprintable():
        text = clean("".join(one if one.isprintable() else "?" for one in text))
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 3]}..."
