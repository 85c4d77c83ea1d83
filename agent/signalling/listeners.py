"""Who waits for this instance's signals: found out beside the run, and without it, on a client of its own.

Independent of the run's own steps, since a run that failed in one of them has to be told of, too: the bootstrap file is
read leniently, the region may come from the metadata service. Calls: none off EC2 but for a stack; none outside of a
group (IMDS says so, for free); else `DescribeAutoScalingInstances`, and `DescribeLifecycleHooks` for a launch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from agent.aws import chain, cloudformation, imds_facts, imds_machine
from agent.aws.autoscaling import AutoScaling, Hook, Member
from agent.aws.imds import Imds
from agent.aws.session import AwsSession
from agent.dataclass import dataclass
from agent.errors import AgentError, AwsError, combine
from agent.host.clock import Deadline
from agent.host.host import Host
from agent.host.proxy import Proxies
from agent.secret import Redactor
from agent.shell import file as shell_file
from agent.steps import bootstrap, identity, signal_note, signals
from agent.steps.bootstrap import Bootstrap
from agent.steps.signal_note import Note
from agent.steps.signals import Settings
from agent.steps.user_data import TAG_PREFIX

_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The launch hook that waits for this instance, or will."""

    door: AutoScaling
    group: str
    hook: Hook

    def beat(self) -> bool:
        """Start the hook's time anew."""
        return self.door.heartbeat(self.group, self.hook.name)

    @property
    def interval(self) -> float:
        """Seconds between heartbeats: two may be lost."""
        return max(self.hook.seconds / 3, 1.0)

    def answer(self, result: str, deadline: Deadline) -> str:
        """Complete the hook; in words what came of it. A launch whose hook has not begun yet is waited for."""
        while not self.door.complete(self.group, self.hook.name, result):
            member = self.door.member()
            state = member.state if member else "gone"
            if state not in signals.BEFORE | signals.WAITING:
                return f"the hook {self.hook.name} of {self.group} waits no more (the instance is {state})"
            if deadline.left() < _POLL_SECONDS:
                raise AwsError(
                    f"telling the lifecycle hook {self.hook.name} of {self.group} {result}",
                    f"it does not wait for this instance yet, which is {state}",
                    f"aws autoscaling complete-lifecycle-action --lifecycle-action-result {result}, by hand",
                )
            deadline.clock.sleep(_POLL_SECONDS)
        return f"{result} to the hook {self.hook.name} of {self.group}"


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Who waits. `launch` is None when no hook does; `fault` is why that cannot be known."""

    settings: Settings
    instance_id: str
    session: AwsSession
    launch: Launch | None
    fault: AgentError | None
    stack_waits: bool

    @property
    def any(self) -> bool:
        """Whether anybody waits, as far as can be known."""
        return self.launch is not None or self.stack_waits or self.fault is not None

    def tell(self, host: Host, deadline: Deadline, *, good: bool) -> str:
        """Tell all who have not been told; one that cannot be told does not keep the others from it."""
        note, said = signal_note.load(host.paths) or Note(), []
        errors = [self.fault] if self.fault is not None else []
        if self.launch is not None and not note.asg:
            result = "CONTINUE" if good else "ABANDON"
            try:
                said.append(self.launch.answer(result, deadline))
                note = replace(note, asg=result)
            except AgentError as error:
                errors.append(error)
        if self.stack_waits and not note.cfn:
            status: cloudformation.Status = "SUCCESS" if good else "FAILURE"
            try:
                said.append(self._signal(host, status))
                note = replace(note, cfn=status)
            except AgentError as error:
                errors.append(error)
        signal_note.save(host.paths, note if errors else replace(note, held_until=""))
        if errors:
            raise combine(errors)
        return "; ".join(said)

    def _signal(self, host: Host, status: cloudformation.Status) -> str:
        stack, resource = self.settings.stack, self.settings.resource
        refused = cloudformation.signal(self.session.cloudformation(), stack, resource, self.instance_id, status)
        if status == "SUCCESS":
            signal_note.keep_signalled(host.paths, self.instance_id, stack)
        return f"the stack {stack} takes no signal now ({refused})" if refused else f"{status} to the stack {stack}"


def look(host: Host, redactor: Redactor, deadline: Deadline, *, boot: bool) -> Listeners | None:
    """Who waits for this instance; None when nobody is to be told. Raises `AgentError` when that cannot be known."""
    variables = in_file(host)
    imds = Imds({**host.environ, **variables})
    on_ec2 = (imds_machine.look(host.paths).ec2 is True or imds.configured) and not imds.disabled
    wanted = signals.settings(variables, _tags(imds, deadline) if on_ec2 else None)
    if not wanted.wanted:
        return None
    region = variables.get("AWS_REGION") or (imds_facts.instance(imds, deadline).region if on_ec2 else "")
    loaded = Bootstrap(path=host.paths.bootstrap, variables={**variables, "AWS_REGION": region}, warnings=())
    redactor.learn(loaded.secrets())
    merged = {**host.environ, **loaded.variables}
    proxies = Proxies.of(loaded.variables)
    provided = None if loaded.keys else chain.find(merged, region, proxies)
    who = identity.establish(loaded, imds, host.paths, deadline, provided)
    # The metadata service may have answered although the firmware said nothing.
    instance_id, on_ec2 = who.instance_id, who.on_ec2 and not imds.disabled
    if on_ec2 and not instance_id.startswith("i-"):
        instance_id = imds.get("meta-data/instance-id", deadline) or instance_id
    session = AwsSession(region, who.credentials, proxies, merged, deadline=deadline)
    launching = wanted.hook is not None and on_ec2 and signals.may_launch(imds_facts.lifecycle_state(imds, deadline))
    launch, fault = None, None
    try:
        launch = _launch(session, instance_id, wanted, boot=boot) if launching else None
    except AgentError as error:
        fault = error
    return Listeners(
        settings=wanted,
        instance_id=instance_id,
        session=session,
        launch=launch,
        fault=fault,
        stack_waits=bool(wanted.stack) and not signal_note.has_signalled(host.paths, instance_id, wanted.stack),
    )


def in_file(host: Host) -> Mapping[str, str]:
    """What the bootstrap file sets, as far as it can be read."""
    try:
        return shell_file.parse(host.paths.bootstrap.read_bytes(), "the bootstrap file").values()
    except OSError:
        return {}


def _tags(imds: Imds, deadline: Deadline) -> dict[str, str]:
    """The tags `delphi:NAME` that are about signals. That there are none to be had is nobody's fault."""
    with contextlib.suppress(AgentError):
        found = imds_facts.tags(imds, deadline, TAG_PREFIX) or {}
        named = {name.removeprefix(TAG_PREFIX): value for name, value in found.items()}
        return {name: value for name, value in named.items() if name in bootstrap.SIGNALS}
    return {}


def _launch(session: AwsSession, instance_id: str, wanted: Settings, *, boot: bool) -> Launch | None:
    door = AutoScaling(session.autoscaling(), instance_id)
    member: Member | None = door.member()
    if member is None or not signals.takes(member.state, boot=boot):
        return None
    hooks = door.launch_hooks(member.group)
    chosen = [hook for hook in hooks if wanted.hook in ("", hook.name)]
    if len(chosen) == 1:
        return Launch(door=door, group=member.group, hook=chosen[0])
    if wanted.hook == "" and not hooks:
        return None
    names = ", ".join(hook.name for hook in hooks) or "none"
    raise AwsError(
        f"finding the launch hook of the Auto Scaling group {member.group}",
        f"SIGNAL_ASG is {wanted.hook or 'auto'}, and the group's launch hooks are: {names}",
        "set SIGNAL_ASG to the name of the one that waits for this agent",
    )
