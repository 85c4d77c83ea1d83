"""Who this instance is to AWS, and which instance it is.

Static keys of the bootstrap file come first, then what the SDK's chain finds in variables (a web identity, a
container's credentials), then the instance's role. As in the SDKs, what comes first hides what comes after it; here a
hidden role is named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from agent.aws import chain, imds_facts, imds_machine, imds_role
from agent.aws.credentials import Credentials, Keys
from agent.aws.imds import Imds
from agent.aws.imds_machine import Machine, first_line
from agent.dataclass import dataclass
from agent.errors import AgentError, BootstrapError
from agent.host.clock import Deadline
from agent.host.paths import Paths
from agent.host.side_by_side import within
from agent.steps.bootstrap import Bootstrap, StaticKeys

ACCOUNT = "AWS_ACCOUNT_ID"
# What is only good to know may cost this much.
LOOK_SECONDS = 1.0
# For new keys in the middle of a run: other threads wait for them.
RENEW_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How the agent signs its calls, and what the host's state is kept under.

    `account` is None when nothing tells it without a call to AWS. `on_ec2` is what the firmware says, True too when
    the metadata service has answered.
    """

    text: str
    credentials: Credentials
    instance_id: str
    from_imds: bool
    account: str | None = None
    on_ec2: bool = False
    warnings: tuple[str, ...] = ()


def establish(
    bootstrap: Bootstrap, imds: Imds, paths: Paths, deadline: Deadline, provided: Credentials | None = None
) -> Identity:
    """The identity of this run; `provided` is what the SDK's chain found. Waits only for what is then used.

    Raises `BootstrapError` when the account is not the one that the bootstrap file expects, or when there are no keys
    and the machine cannot have a role.
    """
    machine = imds_machine.look(paths)
    if bootstrap.keys is not None:
        who = _static(bootstrap.keys, imds, paths, machine, deadline)
    elif provided is not None:
        who = _provided(provided, paths, machine, deadline)
    else:
        _expect_a_role(imds, machine)
        who = _role(bootstrap, imds, paths, deadline)
    return _of_account(bootstrap, who)


def local_instance_id(paths: Paths) -> str:
    """The instance's id without IMDS: the firmware's asset tag, else cloud-init's, else the machine id (design 4)."""
    asset = imds_machine.look(paths).instance_id
    cloud_init = first_line(paths.at("/var/lib/cloud/data/instance-id"))
    return asset or cloud_init or first_line(paths.at("/etc/machine-id")) or "unknown"


def _static(static: StaticKeys, imds: Imds, paths: Paths, machine: Machine, deadline: Deadline) -> Identity:
    keys = Keys(static.access_key_id, static.secret_access_key, static.session_token)
    source = "static keys of the bootstrap file"
    credentials = Credentials(source=source, fetch=lambda: keys)
    return Identity(
        text=source,
        credentials=credentials,
        instance_id=local_instance_id(paths),
        from_imds=False,
        account=chain.account_of(credentials, keys),
        on_ec2=machine.ec2 is True,
        warnings=tuple(_hidden_role(imds, machine, deadline)),
    )


def _hidden_role(imds: Imds, machine: Machine, deadline: Deadline) -> Iterator[str]:
    """A role that the static keys hide. Off EC2 not one packet is sent to find out, and no failure counts."""
    if machine.ec2 is not True or imds.disabled:
        return
    with contextlib.suppress(AgentError):
        hidden = imds_role.attached_role(imds.hasty(), deadline.share(LOOK_SECONDS))
        if hidden is not None:
            yield (
                f"static keys of the bootstrap file hide the role {hidden} of this instance; to use the role, remove"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )


def _provided(provided: Credentials, paths: Paths, machine: Machine, deadline: Deadline) -> Identity:
    first = within(deadline, f"getting credentials ({provided.source})", provided.fetch)
    return Identity(
        text=provided.source,
        credentials=_starting_with(first, provided),
        instance_id=local_instance_id(paths),
        from_imds=False,
        account=chain.account_of(provided, first),
        on_ec2=machine.ec2 is True,
    )


def _expect_a_role(imds: Imds, machine: Machine) -> None:
    """Without keys: say at once that no role can come, where that is certain, rather than wait for one."""
    reason = ""
    if imds.disabled:
        reason = "AWS_EC2_METADATA_DISABLED is true, so the metadata service is not asked for a role"
    elif machine.ec2 is False and not imds.configured:
        reason = f"this is no EC2 instance (the firmware says {machine.vendor!r}), so it has no role"
    if reason:
        raise BootstrapError(
            "finding credentials for AWS",
            f"the bootstrap file sets no AWS keys, and {reason}",
            "put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the bootstrap file",
        )


def _role(bootstrap: Bootstrap, imds: Imds, paths: Paths, deadline: Deadline) -> Identity:
    imds.wait(deadline)
    role = imds_role.role(imds, deadline)
    instance = imds_facts.instance(imds, deadline)
    instance_id = instance.instance_id or imds.get("meta-data/instance-id", deadline) or local_instance_id(paths)
    first = imds_role.keys(imds, role, deadline)
    warnings = []
    if instance.region and instance.region != bootstrap.region:
        warnings.append(f"this instance is in {instance.region}, and AWS_REGION says {bootstrap.region}")
    if amount := imds_role.skew(imds):
        warnings.append(
            f"this host's clock is {amount}: AWS refuses signatures that are off by more than 5 min; set it"
            " (`timedatectl`, chrony)"
        )
    text = f"role {role} of {instance_id}"
    credentials = Credentials(
        source=text,
        fetch=lambda: imds_role.keys(imds, role, deadline.share(RENEW_SECONDS)),
        account=instance.account or None,
    )
    return Identity(
        text=text,
        credentials=_starting_with(first, credentials),
        instance_id=instance_id,
        from_imds=True,
        account=chain.account_of(credentials, first),
        on_ec2=True,
        warnings=tuple(warnings),
    )


def _starting_with(first: Keys, credentials: Credentials) -> Credentials:
    """The same credentials, with keys that were fetched already; later ones are fetched when these are to expire."""
    unused = [first]
    return replace(credentials, fetch=lambda: unused.pop() if unused else credentials.fetch())


def _of_account(bootstrap: Bootstrap, who: Identity) -> Identity:
    """The identity with its account shown, and held against the one that the bootstrap file expects."""
    expected = bootstrap.variables.get(ACCOUNT, "")
    if expected and who.account and expected != who.account:
        raise BootstrapError(
            "finding credentials for AWS",
            f"{who.text}: they are of account {who.account}, and {ACCOUNT} says {expected}",
            f"use credentials of account {expected}, or correct {ACCOUNT} in the bootstrap file",
        )
    if expected and not who.account:
        told = f"{ACCOUNT} could not be checked: nothing tells the account of the {who.text} without a call to AWS"
        return replace(who, warnings=(*who.warnings, told))
    return replace(who, text=f"{who.text} (account {who.account})") if who.account else who
