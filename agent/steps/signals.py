"""What a boot tells Auto Scaling and CloudFormation, decided from how it ended; nothing is sent from here.

Nothing is told unless somebody asked for it (`SIGNAL_ASG`, `SIGNAL_CFN_STACK`): an ABANDON ends the instance.

- 0 is success: CONTINUE and SUCCESS. Every other end is a failure, 75 (the release before runs again) among them: it is
  not what the launch was for.
- An end that the unit tries again (69 for example) tells nothing, and the hook gets another heartbeat. When the unit
  gives up, systemd starts `delphi-agent-signal.service` (its `OnFailure=`), which tells the failure. Not by
  `ExecStopPost=`: that is run before every other attempt, too, and cannot know whether one comes.
- A boot that SIGTERM, SIGINT or SIGHUP stopped tells nothing: the machine may be restarting, or a person is at work.
  The hook's own time is then the bound.
- 73 tells nothing: the run that has the lock tells for itself.
- A person's run tells only its success, and only to who still waits.
- With `ON_FAILURE=hold` a failure is told later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from agent.dataclass import dataclass
from agent.steps.bootstrap_shape import faults_of_shape

Verdict = Literal["success", "failure", "hold", "wait", "nothing"]

HOLD_SECONDS = 3600.0
# A launch is ended by Auto Scaling after this long, whatever heartbeats come.
MOST_HOLD_SECONDS = 172800.0
# What systemd does not try again: `RestartPreventExitStatus` of the unit.
FINAL = frozenset({2, 65, 66, 74, 75, 76, 77, 78, 129, 130, 143})
_STOPPED = frozenset({129, 130, 143})
_LOCKED = 73
# Results of a unit whose process did not end by itself with an exit code.
_BY_ITSELF = "exit-code"

# A launch that nobody has answered yet; before `:Wait` its hook has not begun.
BEFORE = frozenset({"Pending", "Warmed:Pending"})
WAITING = frozenset({"Pending:Wait", "Warmed:Pending:Wait"})
# IMDS tells the state that the instance is on its way to, never `Pending`: in these two kinds it may be launching.
_TARGETS = ("InService", "Warmed:")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is to be told to whom. `hook` is None when no hook is, and empty for the only one that the group has."""

    hook: str | None = None
    stack: str = ""
    resource: str = ""
    hold_seconds: float = 0.0

    @property
    def wanted(self) -> bool:
        """Whether anything is ever told."""
        return self.hook is not None or bool(self.stack)


def settings(variables: Mapping[str, str], tags: Mapping[str, str] | None = None) -> Settings:
    """From the bootstrap file's variables and, for what it leaves out, the tags. One that cannot be right is none.

    The file may be one that has faults, and ended the boot by them: that is a failure to tell as well.
    """
    found = {**(tags or {}), **{name: value for name, value in variables.items() if value}}
    wrong = {line.partition(" ")[0] for line in faults_of_shape(found)}
    right = {name: value for name, value in found.items() if name not in wrong}
    asg = right.get("SIGNAL_ASG", "off")
    hook = {"off": None, "auto": ""}.get(asg, asg)
    held = right.get("ON_FAILURE") == "hold"
    seconds = float(right.get("ON_FAILURE_HOLD_SECONDS") or HOLD_SECONDS)
    return Settings(
        hook=hook,
        stack=right.get("SIGNAL_CFN_STACK", ""),
        resource=right.get("SIGNAL_CFN_RESOURCE", ""),
        hold_seconds=min(seconds, MOST_HOLD_SECONDS) if held else 0.0,
    )


def of_run(exit_code: int, *, boot: bool, unit: bool, hold: bool) -> Verdict:
    """What is told at the end of a run; `unit`: systemd looks after it, and tries some ends again."""
    if exit_code == 0:
        return "success"
    if not boot or exit_code == _LOCKED or exit_code in _STOPPED:
        return "nothing"
    if unit and exit_code not in FINAL:
        return "wait"
    return "hold" if hold else "failure"


def of_unit(result: str, status: str, *, verified: bool, hold: bool) -> Verdict:
    """What is told when systemd has given the unit up: its result (`exit-code`, `oom-kill`) and its exit status.

    `verified`: the last run, whoever made it, was seen healthy.
    """
    code = int(status) if result == _BY_ITSELF and status.isdigit() else None
    if verified or code == _LOCKED or code in _STOPPED:
        return "nothing"
    return "hold" if hold else "failure"


def may_launch(target: str | None) -> bool:
    """Whether an instance with this target lifecycle state (IMDS) may be in a launch: only then is AWS asked."""
    return target is not None and target.startswith(_TARGETS) and target != "Warmed:Terminated"


def takes(state: str, *, boot: bool) -> bool:
    """Whether a launch hook is to be answered in this lifecycle state; a person answers only one that waits."""
    return state in WAITING or (boot and state in BEFORE)
