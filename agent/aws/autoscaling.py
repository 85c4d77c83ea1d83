"""An Auto Scaling group seen from one of its instances: which group and hook it is, and what the hook is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.aws.failures import calling, code_of
from agent.dataclass import dataclass

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
# What AWS takes for a hook that does not say.
DEFAULT_SECONDS = 3600
# The code for an action that is not open: not yet, or not any more.
_NOT_OPEN = "ValidationError"


@dataclass(frozen=True, kw_only=True)
class Member:
    """An instance of a group: `Pending:Wait` while a launch hook waits for somebody to complete it."""

    group: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A launch hook: without a heartbeat for so many seconds, the group goes on without an answer."""

    name: str
    seconds: float


class AutoScaling:
    """Asks and tells Auto Scaling with its client, about one instance."""

    def __init__(self, client: AutoScalingClient, instance_id: str) -> None:
        self._client = client
        self._instance_id = instance_id

    def member(self) -> Member | None:
        """The group that the instance is in, None when it is in none."""
        with calling(
            f"asking which Auto Scaling group {self._instance_id} is in",
            "autoscaling:DescribeAutoScalingInstances",
            "*",
        ):
            answer = self._client.describe_auto_scaling_instances(InstanceIds=[self._instance_id])
        found = answer.get("AutoScalingInstances", ())
        return Member(group=found[0]["AutoScalingGroupName"], state=found[0]["LifecycleState"]) if found else None

    def launch_hooks(self, group: str) -> list[Hook]:
        """The group's hooks that hold a launch up."""
        doing = f"listing the lifecycle hooks of the Auto Scaling group {group}"
        with calling(doing, "autoscaling:DescribeLifecycleHooks", "*"):
            answer = self._client.describe_lifecycle_hooks(AutoScalingGroupName=group)
        return [
            Hook(name=item["LifecycleHookName"], seconds=float(item.get("HeartbeatTimeout") or DEFAULT_SECONDS))
            for item in answer.get("LifecycleHooks", ())
            if item.get("LifecycleTransition") == LAUNCHING
        ]

    def heartbeat(self, group: str, hook: str) -> bool:
        """Start the hook's time anew; False when it does not wait for this instance."""
        beat = functools.partial(
            self._client.record_lifecycle_action_heartbeat,
            AutoScalingGroupName=group,
            LifecycleHookName=hook,
            InstanceId=self._instance_id,
        )
        doing = f"telling the lifecycle hook {hook} of {group} a heartbeat"
        return self._tell(beat, doing, "autoscaling:RecordLifecycleActionHeartbeat", group)

    def complete(self, group: str, hook: str, result: str) -> bool:
        """Answer the hook with CONTINUE or ABANDON; False when it does not wait for this instance."""
        answer = functools.partial(
            self._client.complete_lifecycle_action,
            AutoScalingGroupName=group,
            LifecycleHookName=hook,
            InstanceId=self._instance_id,
            LifecycleActionResult=result,
        )
        doing = f"telling the lifecycle hook {hook} of {group} {result}"
        return self._tell(answer, doing, "autoscaling:CompleteLifecycleAction", group)

    def _tell(self, call: Callable[[], object], doing: str, action: str, group: str) -> bool:
        from botocore.exceptions import ClientError

        meta = self._client.meta
        resource = (
            f"arn:{meta.partition}:autoscaling:{meta.region_name}:*:autoScalingGroup:*:autoScalingGroupName/{group}"
        )
        with calling(doing, action, resource):
            try:
                call()
            except ClientError as error:
                if code_of(error) == _NOT_OPEN:
                    return False
                raise
        return True
