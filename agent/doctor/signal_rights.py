"""The rights that a boot's signals need, where the bootstrap file asks for them; tags are AWS's to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.doctor.rights import EVERY, Right
from agent.steps import signals

# Neither Describe action knows resources. Which group the instance will be in, the files do not say.
_GROUP = "arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/*"
_AUTO_SCALING = {
    "FindGroup": ("DescribeAutoScalingInstances", EVERY),
    "FindHook": ("DescribeLifecycleHooks", EVERY),
    "KeepHookWaiting": ("RecordLifecycleActionHeartbeat", _GROUP),
    "AnswerHook": ("CompleteLifecycleAction", _GROUP),
}


def of(variables: Mapping[str, str]) -> Iterator[Right]:
    """Those for what the bootstrap file's variables ask for."""
    wanted = signals.settings(variables)
    if wanted.hook is not None:
        for sid, (action, resource) in _AUTO_SCALING.items():
            name = f"autoscaling:{action}"
            yield Right(sid=sid, action=name, calls=(name,), resources=(resource,), optional=True)
    if wanted.stack:
        name, stack = "cloudformation:SignalResource", wanted.stack
        arn = f"arn:{{partition}}:cloudformation:{{region}}:{{account}}:stack/{stack}/*"
        resource = stack if stack.startswith("arn:") else arn
        yield Right(sid="SignalStack", action=name, calls=(name,), resources=(resource,), optional=True)
