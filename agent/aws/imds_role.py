"""The instance's role and its temporary keys, as the metadata service gives them; each way to get none has its cause.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from agent.aws.credentials import Keys
from agent.aws.imds import Imds
from agent.errors import ImdsError
from agent.host import json_input, retry
from agent.host.clock import Deadline
from agent.report import record
from agent.secret import Secret

ROLES = "meta-data/iam/security-credentials/"
# A profile that was attached at launch shows up within seconds; none at all should not cost a boot minutes.
ROLE_SECONDS = 15.0
# AWS refuses a signature that is five minutes old; a warning should come before.
SKEW_SECONDS = 240.0

_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_FIELDS = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
_ATTACH_STEP = "attach an instance profile to the instance, or put AWS keys into the bootstrap file"


class _NoRoleError(Exception):
    """No instance profile yet."""


def role(imds: Imds, deadline: Deadline) -> str:
    """The name of the instance's role; one that was attached a moment ago is waited for."""
    share = deadline.share(ROLE_SECONDS)

    def name() -> str:
        found = attached_role(imds, share)
        if found is None:
            raise _NoRoleError
        return found

    try:
        return retry.until(
            share,
            name,
            on=(_NoRoleError,),
            most=2.0,
            tell=lambda _: record.progress(waiting_for="an instance profile"),
        )
    except _NoRoleError as error:
        cause, next_step = _why_none(imds, share)
        raise ImdsError("asking the instance metadata service for a role", cause, next_step) from error


def attached_role(imds: Imds, deadline: Deadline) -> str | None:
    """The name of the role that is attached now, None when there is none."""
    listing = (imds.get(ROLES, deadline) or "").split()
    if not listing:
        return None
    if not _NAME.fullmatch(listing[0]):
        raise ImdsError(
            "asking the instance metadata service for a role",
            "its answer is no role's name",
            "see that what answers at 169.254.169.254 is EC2's metadata service, then run it again",
        )
    return listing[0]


def keys(imds: Imds, name: str, deadline: Deadline) -> Keys:
    """The temporary credentials of the role `name`; never ones that have expired by this host's clock."""
    doing = f"reading the credentials of role {name} from the instance metadata service"
    document = parsed(imds.get(f"{ROLES}{name}", deadline) or "{}", doing)
    if document.get("Code") != "Success":
        raise ImdsError(
            doing,
            f"the service answers with code {document.get('Code', 'none')!r}",
            "look at the role's trust policy: ec2.amazonaws.com must be allowed to assume it; and at the instance"
            " profile: a role that was deleted and made again must be put into it again",
        )
    missing = [field for field in _FIELDS if not isinstance(document.get(field), str)]
    expires = _time(document.get("Expiration"))
    if missing or expires is None:
        faulty = ", ".join(missing) or "Expiration"
        raise ImdsError(doing, f"the answer is incomplete: {faulty}", "wait a minute, then run it again")
    now, updated = deadline.clock.now(), _time(document.get("LastUpdated"))
    if imds.ahead is None and updated is not None and now < updated:
        # Keys that were made in the future: the clock is at least that far behind.
        imds.ahead = now - updated
    if expires <= now:
        amount = skew(imds)
        raise ImdsError(
            doing,
            f"they expired at {document['Expiration']}, and this host's clock says {now:%Y-%m-%dT%H:%M:%SZ}"
            + (f": it is {amount}" if amount else ""),
            "see that the clock is right (`timedatectl`, chrony); when it is, wait a minute and run it again",
        )
    return Keys(
        Secret(document["AccessKeyId"]),
        Secret(document["SecretAccessKey"]),
        Secret(document["Token"]),
        document["Expiration"],
    )


def skew(imds: Imds) -> str:
    """By how much this host's clock is wrong, in words; empty when it is right, or when nothing has told."""
    seconds = imds.ahead.total_seconds() if imds.ahead is not None else 0.0
    if abs(seconds) < SKEW_SECONDS:
        return ""
    hours, minutes = divmod(round(abs(seconds) / 60), 60)
    spelled = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return f"{spelled} {'ahead of' if seconds > 0 else 'behind'} the metadata service's"


def parsed(text: str, doing: str) -> dict[str, Any]:
    """The JSON object in an answer; its text is never told: it may hold keys."""
    try:
        document = json_input.loads(text)
    except ValueError as error:
        raise ImdsError(doing, "no JSON", "wait a minute, then run it again") from error
    return document if isinstance(document, dict) else {}


def _why_none(imds: Imds, deadline: Deadline) -> tuple[str, str]:
    """No role: no instance profile, or one that has none."""
    doing = "asking the instance metadata service for the instance profile"
    profile = parsed(imds.get("meta-data/iam/info", deadline) or "{}", doing)
    arn = profile.get("InstanceProfileArn")
    if not arn:
        return "no role is attached to this instance", _ATTACH_STEP
    return (
        f"the instance profile {arn} is attached, and it gives no role (code {profile.get('Code', 'none')!r})",
        "put a role into this instance profile (`aws iam add-role-to-instance-profile`), then run it again",
    )


def _time(text: object) -> dt.datetime | None:
    """A time as IMDS writes it (`2026-01-01T00:00:00Z`)."""
    try:
        time = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
