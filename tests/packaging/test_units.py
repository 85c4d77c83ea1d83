"""The unit says of each exit code what the README says."""

from __future__ import annotations

import re
import signal

from agent.errors import Interrupted
from tests.packaging.checkout import CHECKOUT, table

UNIT = (CHECKOUT / "systemd" / "delphi-agent.service").read_text()
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
CATALOG = (CHECKOUT / "systemd" / "delphi-agent.catalog").read_text()


def test_what_a_restart_does_not_help_is_not_restarted() -> None:
    rows = table("Code", "Meaning", "Reported as", "Does a restart help?")
    helpless = {int(row[0]) for row in rows if row[3] == "no"}
    helped = {int(row[0]) for row in rows if row[3] in {"yes", "once"}}
    (said,) = re.findall(r"(?m)^RestartPreventExitStatus=(.*)$", UNIT)

    prevented = {int(word) for word in said.split()}

    assert helped == {69, 70, 73}
    assert prevented == helpless | {Interrupted(number).exit_status for number in SIGNALS}
    assert re.findall(r"(?m)^Restart=(.*)$", UNIT) == ["on-failure"]


def test_the_catalog_has_a_text_for_every_way_that_a_boot_can_end() -> None:
    codes = {int(row[0]) for row in table("Code", "Meaning", "Reported as")} - {2, 3}

    assert {int(code) for code in re.findall(r"(?m)^-- 8c9f2f0c4d6b4b7e9a51c3f1d20e7a(\d\d)$", CATALOG)} == codes
