"""Who waits for an instance: a group with launch hooks, a stack. By hand, since moto has neither answer.

Only calls about what a test has made are answered here (others go to moto), and only with the parameters that AWS
knows. What is told is kept, in order: `Aws.signals()`.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.lab.aws_errors import error_reply
from tests.lab.aws_model import ACCOUNT, REGION, Json
from tests.lab.http_door import Reply, Request

_HOOK = {"AutoScalingGroupName", "LifecycleHookName", "LifecycleActionToken", "InstanceId"}
_KNOWN = {
    "DescribeAutoScalingInstances": {"InstanceIds.member.1", "MaxRecords", "NextToken"},
    "DescribeLifecycleHooks": {"AutoScalingGroupName", "LifecycleHookNames.member.1"},
    "RecordLifecycleActionHeartbeat": _HOOK,
    "CompleteLifecycleAction": {*_HOOK, "LifecycleActionResult"},
    "SignalResource": {"StackName", "LogicalResourceId", "UniqueId", "Status"},
}
_TELLING = ("RecordLifecycleActionHeartbeat", "CompleteLifecycleAction", "SignalResource")
_AFTER = {"CONTINUE": "InService", "ABANDON": "Terminating:Wait"}


@dataclasses.dataclass
class Group:
    """One group with one instance; `hooks` are the seconds of each launch hook."""

    name: str
    instance: str
    state: str
    hooks: dict[str, int]


class Waiting:
    """Who waits, and what they were told."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []
        self.groups: list[Group] = []
        self.stacks: dict[str, str] = {}
        """A stack's name, and its one resource that waits; empty when none does."""

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # the same object, as after its making

    def make(self, what: Json) -> None:
        if "stack" in what:
            self.stacks[what["stack"]] = what["resource"]
        else:
            self.groups = [group for group in self.groups if group.name != what["name"]] + [Group(**what)]

    def answer(self, request: Request) -> Reply | None:
        """None for a call that is moto's."""
        fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True)) if request.method == "POST" else {}
        action = fields.pop("Action", "")
        if action not in _KNOWN:
            return None
        fields.pop("Version", None)
        if unknown := set(fields) - _KNOWN[action]:
            return error_reply("autoscaling", 400, "MalformedInput", f"the lab does not know {sorted(unknown)}")
        if action.startswith("Describe"):
            return self._describe(action, fields)
        if fault := self._fault(action, fields):
            return error_reply("autoscaling", 400, "ValidationError", fault)
        self.told.append({"action": action, **fields})
        if action == "CompleteLifecycleAction":
            self._group(fields).state = _AFTER[fields["LifecycleActionResult"]]
        return _reply(action, "")

    def _describe(self, action: str, fields: dict[str, str]) -> Reply | None:
        asked = fields.get("InstanceIds.member.1"), fields.get("AutoScalingGroupName")
        found = [group for group in self.groups if asked in ((group.instance, None), (None, group.name))]
        if action == "DescribeAutoScalingInstances":
            items = [{"InstanceId": item.instance, "LifecycleState": item.state, **_of(item)} for item in found]
            return _reply(action, _members("AutoScalingInstances", items))
        if not found:
            return None
        (group,) = found
        hooks = [
            {
                "LifecycleHookName": name,
                "LifecycleTransition": f"autoscaling:EC2_INSTANCE_{'TERMINATING' if name == 'drain' else 'LAUNCHING'}",
                "HeartbeatTimeout": str(seconds),
                "GlobalTimeout": str(100 * seconds),
                "DefaultResult": "ABANDON",
                **_of(group),
            }
            for name, seconds in group.hooks.items()
        ]
        return _reply(action, _members("LifecycleHooks", hooks))

    def _group(self, fields: dict[str, str]) -> Group:
        (group,) = [group for group in self.groups if group.name == fields["AutoScalingGroupName"]]
        return group

    def _fault(self, action: str, fields: dict[str, str]) -> str:
        """AWS's words for what cannot be told now; empty when it can."""
        if action == "SignalResource":
            stack = fields["StackName"]
            if stack not in self.stacks:
                return f"Stack {stack} does not exist"
            if fields["Status"] not in ("SUCCESS", "FAILURE") or not fields["UniqueId"]:
                return "1 validation error detected"
            waits = self.stacks[stack] == fields["LogicalResourceId"]
            return "" if waits else f"Resource {fields['LogicalResourceId']} is in CREATE_COMPLETE state and cannot be"
        for group in self.groups:
            named = group.name == fields["AutoScalingGroupName"] and fields["LifecycleHookName"] in group.hooks
            if named and group.instance == fields["InstanceId"] and group.state.endswith("Pending:Wait"):
                wrong = action == "CompleteLifecycleAction" and fields["LifecycleActionResult"] not in _AFTER
                return "1 validation error detected" if wrong else ""
        return f"No active Lifecycle Action found with instance ID {fields['InstanceId']}"


def resource_arn(action: str, name: str) -> str:
    """What a policy is asked about for one of these calls."""
    if action == "SignalResource":
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/0a1b"
    if action in _TELLING:
        return f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:0a1b:autoScalingGroupName/{name}"
    return "*"


def _of(group: Group) -> dict[str, str]:
    return {"AutoScalingGroupName": group.name}


def _members(name: str, items: list[dict[str, str]]) -> str:
    texts = ("".join(f"<{key}>{escape(value)}</{key}>" for key, value in item.items()) for item in items)
    return f"<{name}>{''.join(f'<member>{text}</member>' for text in texts)}</{name}>"


def _reply(action: str, result: str) -> Reply:
    text = (
        f"<{action}Response><{action}Result>{result}</{action}Result>"
        f"<ResponseMetadata><RequestId>lab</RequestId></ResponseMetadata></{action}Response>"
    )
    return Reply(200, text.encode(), [("Content-Type", "text/xml")])
