"""Turns what botocore raises into the agent's errors, each with the next step; decided by error codes and classes.

`AccessDenied` (a permission or a key must change) names the action, the resource and the principal, and holds the IAM
statement to add. Everything else is an `AwsError` (a later run may succeed). What does not exist is left to callers:
`code_of` gives the code. Not one message text is ever matched to decide; texts are only read for names to show.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.aws import unanswered
from agent.aws.clock_skew import TOLERATED_SECONDS, in_words, skew
from agent.errors import AccessDenied, AgentError, AwsError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

_DENIED = frozenset(
    "AccessDenied AccessDeniedException AllAccessDisabled AuthorizationError Forbidden KMSAccessDeniedException "
    "NotAuthorized UnauthorizedOperation 403".split()
)
_BAD_KEYS = frozenset(
    "AuthFailure IncompleteSignature InvalidAccessKeyId InvalidClientTokenId InvalidToken MissingAuthenticationToken "
    "MissingAuthenticationTokenException NotSignedUp UnrecognizedClientException".split()
)
EXPIRED = frozenset("ExpiredToken ExpiredTokenException TokenRefreshRequired".split())
_TOO_OLD = frozenset("RequestExpired RequestTimeTooSkewed".split())
_SKEWED = _TOO_OLD | frozenset("InvalidSignatureException SignatureDoesNotMatch".split())
THROTTLED = frozenset(
    "BandwidthLimitExceeded EC2ThrottledException LimitExceededException PriorRequestNotComplete "
    "ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown "
    "Throttling ThrottledException ThrottlingException TooManyRequestsException".split()
)
ELSEWHERE = frozenset(
    "AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect TemporaryRedirect 301 307 "
    "OptInRequired".split()
)
_KEY = frozenset("DecryptionFailure InvalidKeyId KMSInvalidStateException KMS.DisabledException".split())
_BROKEN = frozenset("InternalError InternalFailure InternalServerError InternalServiceError ServiceUnavailable".split())
# What a proxy answers to a call without TLS that it has no password for.
_PROXY = "407"
_FIRST_SERVER_ERROR = 500

_NEXT_STEPS = (
    (EXPIRED, "the credentials have expired; run it again (a role's are renewed), or put new static keys in"),
    (THROTTLED, "AWS is throttling this account; wait a minute, then run it again"),
    (_KEY, "the KMS key of this value cannot be used: enable it, or encrypt the value under another key"),
)

_ACTION = re.compile(r"not authorized to perform:? \[?([A-Za-z0-9-]+:[A-Za-z0-9*]+)")
_RESOURCE = re.compile(r"on (?:the )?resources?:? \[?(arn:[^\s\",\]]+|\*)")
_KEY_DENIED = re.compile(r"\bKMS\b|customer master key", re.IGNORECASE)
_PRINCIPAL = re.compile(r"(arn:[a-z-]+:(?:sts|iam)::\d*:[^\s\",]+)")


@contextmanager
def calling(doing: str, action: str, resource: str) -> Iterator[None]:
    """Around calls of the SDK: what botocore raises leaves the block as an `AgentError` (`translate`)."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, doing, action, resource) from error
    except RecursionError:
        # botocore reads the answers.
        raise AwsError(
            doing, "the answer is nested too deep to be one of AWS", "look at what is between this host and AWS"
        ) from None


def code_of(error: ClientError) -> str:
    """The error's code, such as `ResourceNotFoundException`."""
    return str(error.response.get("Error", {}).get("Code", "") or "unknown")


def is_denied(code: str) -> bool:
    """Whether an error of this code means that the principal lacks a permission."""
    return code in _DENIED


def is_passing(code: str) -> bool:
    """Whether an error of this code may be gone when asked again."""
    return code in THROTTLED or code in _BROKEN


def translate(error: BotoCoreError | ClientError, doing: str, action: str, resource: str) -> AgentError:
    """The error to raise instead; `action` (`ssm:GetParametersByPath`) and `resource` (an ARN) are what was asked."""
    from botocore.exceptions import ClientError as Refusal

    if not isinstance(error, Refusal):
        return unanswered.translate(error, doing)
    response: Mapping[str, Any] = error.response
    code, details, metadata = code_of(error), response.get("Error", {}), response.get("ResponseMetadata", {})
    if code in _SKEWED:
        return _not_signed_well(response, doing)
    if code in ELSEWHERE:
        return _elsewhere(response, doing)
    message, status = str(details.get("Message", "")), metadata.get("HTTPStatusCode", 0)
    return from_code(code, message, doing, action, resource, status=status)


def from_code(code: str, message: str, doing: str, action: str, resource: str, *, status: int = 0) -> AgentError:
    """The same for an error that came as data, inside an answer."""
    said = f"{code}: {message}" if message else code
    if code in _DENIED:
        return _denied(code, message, doing, action, resource)
    if code in _BAD_KEYS:
        return AccessDenied(
            doing,
            said,
            "AWS does not know these credentials: correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the bootstrap"
            " file, or remove both so that the instance's role is used",
        )
    if code == _PROXY:
        return unanswered.wrong_proxy_password(doing)
    for codes, next_step in _NEXT_STEPS:
        if code in codes:
            return AwsError(doing, said, next_step)
    if code in _BROKEN or status >= _FIRST_SERVER_ERROR:
        return AwsError(doing, said, "AWS itself failed, also after retries; wait a minute, then run it again")
    return AwsError(doing, said, f"look up this code in the documentation of {action}, correct the cause, run it again")


def _not_signed_well(response: Mapping[str, Any], doing: str) -> AgentError:
    """Either the clock is wrong or the secret key is; the time on the answer tells which."""
    said, ahead = _said(response), skew(response, dt.datetime.now(dt.UTC))
    if ahead is None:
        return AwsError(
            doing,
            said,
            "set the host's clock (`timedatectl`, chrony); when it is right, the secret access key is wrong",
        )
    if abs(ahead) >= TOLERATED_SECONDS:
        return AwsError(
            doing,
            f"this host's clock is {in_words(ahead)} ({said})",
            "set the host's clock (`timedatectl`; EC2's time server is 169.254.169.123), then run it again",
        )
    if response["Error"]["Code"] in _TOO_OLD:
        return AwsError(doing, said, "run it again; if it stays so, look at what is slow between this host and AWS")
    return AccessDenied(
        doing,
        said,
        "the host's clock is right, so the secret access key is wrong: correct AWS_SECRET_ACCESS_KEY in the bootstrap"
        " file, or remove both keys so that the instance's role is used",
    )


def _elsewhere(response: Mapping[str, Any], doing: str) -> AwsError:
    region = bucket_region(response)
    where = f"; the bucket is in {region}" if region else ""
    return AwsError(
        doing,
        f"{_said(response)}{where}",
        "the thing lives in another region than AWS_REGION says, or the region is not enabled; correct AWS_REGION or"
        " CONFIG_BUCKET in the bootstrap file",
    )


def bucket_region(response: Mapping[str, Any]) -> str:
    """The region in which an answer of S3 says that the bucket is; empty when it does not."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or "")


def _said(response: Mapping[str, Any]) -> str:
    error = response.get("Error", {})
    return f"{error.get('Code')}: {error['Message']}" if error.get("Message") else str(error.get("Code"))


def _denied(code: str, message: str, doing: str, action: str, resource: str) -> AccessDenied:
    """A refusal; the message is read for a more exact action (KMS behind another service), resource and principal."""
    told, where = _ACTION.search(message), _RESOURCE.search(message)
    if told is None and (code.startswith("KMS") or _KEY_DENIED.search(message)):
        # "Access to KMS is not allowed" names neither the action nor the key, and the asked action was allowed.
        action, resource = "kms:Decrypt", _any_key(resource)
    # For the action that was asked, the caller's resource covers all that the agent needs; AWS names only this one.
    if told and told[1] != action:
        action, resource = told[1], where[1] if where else "*"
    principal = _PRINCIPAL.search(message)
    who = principal[1] if principal else "the agent's principal"
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return AccessDenied(
        doing,
        f"{who} may not {action} on {resource}",
        "add the IAM statement below to the role or user (and look for a Deny, an SCP or an endpoint policy)",
        details=[f"IAM statement: {json.dumps(statement)}", *([f"AWS says: {message}"] if message else [])],
    )


def _any_key(resource: str) -> str:
    """Every KMS key in the region of an ARN."""
    if not resource.startswith("arn:"):
        return "*"
    _, partition, _, region, *_ = resource.split(":")
    return f"arn:{partition}:kms:{region}:*:key/*"
