"""`Secret`: a string that will not print, and `Redactor`, which takes known secrets out of text that others wrote."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterable
from typing import NoReturn

REDACTED = "[redacted]"


class Secret:
    """A string that is shown as `[redacted]` by repr, str, format, f-strings, logging, dataclasses and tracebacks.

    `reveal()` is the only way to the text. Pickling is refused; copying gives the same object; comparing takes the
    same time wherever the texts differ. A `Secret` is false when its text is empty.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Hand it only to a child's environment, a request, or a file that a contract names."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # noqa: PLC0415 - 3 ms that `status` need not pay

        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


class Redactor:
    """Replaces known secrets in text at the sinks: log lines, status files, output of children. Safe across threads.

    Known are the exact text, each line of a text with several lines, and what base64, URL and JSON encoding make of
    it. Texts shorter than `MINIMUM` are left alone: to replace every `1` or `api` would ruin the evidence and prove
    nothing. Never used on data that the agent decides by, only on what people read.
    """

    MINIMUM = 6

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def learn(self, secrets: Iterable[Secret]) -> None:
        """From now on take these out of all text."""
        forms = {form for secret in secrets for form in _forms(secret.reveal(), self.MINIMUM)}
        with self._lock:
            # The longest first: a secret that holds another one must go as a whole.
            self._forms = tuple(sorted(forms.union(self._forms), key=len, reverse=True))

    def clean(self, text: str) -> str:
        """`text` with every known form replaced by `[redacted]`."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text


def _forms(text: str, minimum: int) -> set[str]:
    parts = {text, text.strip(), *text.splitlines()}
    forms: set[str] = set()
    for part in parts:
        if len(part) < minimum:
            continue
        raw = part.encode("utf-8", "surrogatepass")
        forms |= {
            part,
            base64.b64encode(raw).decode().rstrip("="),
            base64.urlsafe_b64encode(raw).decode().rstrip("="),
            urllib.parse.quote(raw, safe=""),
            urllib.parse.quote(raw),
            urllib.parse.quote_plus(raw),
            json.dumps(part)[1:-1],
            json.dumps(part, ensure_ascii=False)[1:-1],
            # Docker and Go print strings with %q.
            part.replace("\\", "\\\\").replace('"', '\\"'),
        }
    return forms
