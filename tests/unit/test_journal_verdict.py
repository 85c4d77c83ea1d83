"""The verdict in the journal: fields of its own, a MESSAGE_ID that the catalog knows, no secret."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import pytest

from agent.errors import AgentError, DeployFailed, HostError
from agent.report.journal import MESSAGE_IDS, JournalVerdict
from agent.report.record import Costs, Ending
from agent.secret import Redactor, Secret
from tests.unit.children import PROJECT
from tests.unit.fakes import HEAD


def entry(folder: Path, ending: Ending) -> dict[str, str]:
    redactor = Redactor()
    redactor.learn([Secret("hunter2hunter2")])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(folder / "journal"))
        sink = JournalVerdict(folder / "journal", redactor)
        sink.began(HEAD)
        sink.finished(ending, 1.0, Costs())
        data = inbox.recv(1 << 20)
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:  # systemd.journal-fields: the length, then the text with its line ends
            name, length = line, struct.unpack("<Q", data[:8])[0]
            value, data = data[8 : 8 + length], data[8 + length + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_a_failed_boot_names_cause_and_next_step_in_fields_of_their_own(tmp_path: Path) -> None:
    error = DeployFailed("starting", "web said\nhunter2hunter2", "look at it")

    found = entry(tmp_path, Ending(outcome="failed", exit_code=76, text="not restored", errors=(error,)))

    assert found == {
        "MESSAGE": "failed (exit code 76): not restored",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "delphi-agent",
        "MESSAGE_ID": MESSAGE_IDS[76],
        "DELPHI_RUN": HEAD.id,
        "DELPHI_OUTCOME": "failed",
        "DELPHI_EXIT_CODE": "76",
        "DELPHI_CODE": "deploy-failed",
        "DELPHI_DOING": "starting",
        "DELPHI_CAUSE": "web said\n[redacted]",
        "DELPHI_NEXT_STEP": "look at it",
    }


def test_however_long_the_cause_is_the_entry_arrives(tmp_path: Path) -> None:
    error = HostError("x" * 1_000_000, "y" * 1_000_000, "z")

    found = entry(tmp_path, Ending(outcome="failed", exit_code=74, text="", errors=(error,)))

    assert found["DELPHI_NEXT_STEP"] == "z"


def test_a_boot_that_ended_well_is_a_notice(tmp_path: Path) -> None:
    assert entry(tmp_path, Ending(outcome="verified", exit_code=0, text="all"))["PRIORITY"] == "5"


def test_a_run_that_was_stopped_has_no_catalog_text(tmp_path: Path) -> None:
    assert "MESSAGE_ID" not in entry(tmp_path, Ending(outcome="interrupted", exit_code=143, text=""))


def test_a_journal_that_is_not_there_holds_nothing_up(tmp_path: Path) -> None:
    sink = JournalVerdict(tmp_path / "nobody", Redactor())
    sink.began(HEAD)
    sink.finished(Ending(outcome="verified", exit_code=0, text=""), 1.0, Costs())


def kinds(top: type[AgentError]) -> list[type[AgentError]]:
    return [top, *(kind for below in top.__subclasses__() for kind in kinds(below))]


@pytest.mark.parametrize("kind", kinds(AgentError)[1:], ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_a_message_id(kind: type[AgentError]) -> None:
    assert kind.exit_code in MESSAGE_IDS or kind.exit_code == 2


def test_the_catalog_has_a_text_for_every_message_id() -> None:
    text = (PROJECT / "systemd/delphi-agent.catalog").read_text()
    ids = re.findall(r"^-- ([0-9a-f]{32})$", text, re.MULTILINE)

    assert sorted(ids) == sorted(MESSAGE_IDS.values())
    assert len(set(ids)) == len(ids)
