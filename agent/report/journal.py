"""The verdict of a boot as an entry of the journal with a MESSAGE_ID, which its catalog explains (`journalctl -x`)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from agent.report.last_word import LastWord
from agent.report.record import Ending, RunHead
from agent.secret import Redactor

# By exit code (design section 3); they never change, and systemd/delphi-agent.catalog has a text for each.
MESSAGE_IDS = {
    0: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a00",
    65: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a65",
    66: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a66",
    69: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a69",
    70: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a70",
    73: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a73",
    74: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a74",
    75: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a75",
    76: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a76",
    77: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a77",
    78: "8c9f2f0c4d6b4b7e9a51c3f1d20e7a78",
}
_NOTICE, _ERROR = 5, 3
# One entry has to fit in a datagram.
_LONGEST = 8192
_PATIENCE_SECONDS = 1.0


class JournalVerdict(LastWord):
    """A sink that sends the verdict to journald, in its native protocol, with fields of its own.

    DELPHI_RUN, DELPHI_EXIT_CODE, DELPHI_OUTCOME; of the first error DELPHI_CODE, DELPHI_DOING, DELPHI_CAUSE and
    DELPHI_NEXT_STEP. Known secrets are taken out. A journal that is not there is left alone.
    """

    def __init__(self, address: Path, redactor: Redactor) -> None:
        super().__init__()
        self._address = address
        self._redactor = redactor

    def ended_as(self, head: RunHead, ending: Ending, seconds: float) -> None:
        """The entry; an end that no catalog text is for (a signal) has no MESSAGE_ID."""
        data = b"".join(_field(name, self._redactor.clean(text)[:_LONGEST]) for name, text in _fields(head, ending))
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_PATIENCE_SECONDS)
            channel.sendto(data, str(self._address))


def _fields(head: RunHead, ending: Ending) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", f"{ending.outcome} (exit code {ending.exit_code}): {ending.text}"
    yield "PRIORITY", str(_NOTICE if ending.exit_code == 0 else _ERROR)
    yield "SYSLOG_IDENTIFIER", "delphi-agent"
    if ending.exit_code in MESSAGE_IDS:
        yield "MESSAGE_ID", MESSAGE_IDS[ending.exit_code]
    yield "DELPHI_RUN", head.id
    yield "DELPHI_OUTCOME", ending.outcome
    yield "DELPHI_EXIT_CODE", str(ending.exit_code)
    for error in ending.errors[:1]:
        yield "DELPHI_CODE", error.code
        yield "DELPHI_DOING", error.doing
        yield "DELPHI_CAUSE", error.cause
        yield "DELPHI_NEXT_STEP", error.next_step


def _field(name: str, text: str) -> bytes:
    """systemd.journal-fields(7): a text with line ends has its length before it."""
    data = text.encode("utf-8", "replace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
