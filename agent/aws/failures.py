"""Turns what botocore raises into the agent's errors, each with the next step; decided by error codes and classes.

`AccessDenied` (a permission or a key must change) names the action, the resource and the principal, and holds the IAM
statement to add. Everything else is an `AwsError` (a later run may succeed). What does not exist is left to callers:
`code_of` gives the code. Not one message text is ever matched to decide; texts are only read for names to show.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
_EXPIRED = frozenset("ExpiredToken ExpiredTokenException TokenRefreshRequired".split())
_SKEWED = frozenset("InvalidSignatureException RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch".split())
_THROTTLED = frozenset(
    "BandwidthLimitExceeded EC2ThrottledException LimitExceededException PriorRequestNotComplete "
    "ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown "
    "Throttling ThrottledException ThrottlingException TooManyRequestsException".split()
)
_ELSEWHERE = frozenset(
    "AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect TemporaryRedirect 301 307 "
    "OptInRequired".split()
)
_KEY = frozenset("DecryptionFailure InvalidKeyId KMSInvalidStateException KMS.DisabledException".split())
_BROKEN = frozenset("InternalError InternalFailure InternalServerError InternalServiceError ServiceUnavailable".split())
_FIRST_SERVER_ERROR = 500

_NEXT_STEPS = (
    (_EXPIRED, "the credentials have expired; run it again (a role's are renewed), or put new static keys in"),
    (_SKEWED, "set the host's clock (`timedatectl`, chrony); when it is right, the secret access key is wrong"),
    (_THROTTLED, "AWS is throttling this account; wait a minute, then run it again"),
    (_ELSEWHERE, "the thing lives in another region than AWS_REGION says, or the region is not enabled; correct it"),
    (_KEY, "the KMS key of this value cannot be used: enable it, or encrypt the value under another key"),
)

_ACTION = re.compile(r"not authorized to perform:? \[?([A-Za-z0-9-]+:[A-Za-z0-9*]+)")
_RESOURCE = re.compile(r"on (?:the )?resources?:? \[?(arn:[^\s\",\]]+|\*)")
_KEY_DENIED = re.compile(r"\bKMS\b|customer master key", re.IGNORECASE)
_PRINCIPAL = re.compile(r"(arn:[a-z-]+:(?:sts|iam)::\d*:[^\s\",]+)")


@contextmanager
def calling(doing: str, action: str, resource: str) -> Iterator[None]:
    """Around calls of the SDK: what botocore raises leaves the block as an `AgentError` (`translate`)."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded already when a call is made

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, doing, action, resource) from error


def code_of(error: ClientError) -> str:
    """The error's code, such as `ResourceNotFoundException`."""
    return str(error.response.get("Error", {}).get("Code", "") or "unknown")


def is_denied(code: str) -> bool:
    """Whether an error of this code means that the principal lacks a permission."""
    return code in _DENIED


def translate(error: BotoCoreError | ClientError, doing: str, action: str, resource: str) -> AgentError:
    """The error to raise instead; `action` (`ssm:GetParametersByPath`) and `resource` (an ARN) are what was asked."""
    from botocore.exceptions import ClientError as Refusal  # noqa: PLC0415 - loaded already when a call is made

    if not isinstance(error, Refusal):
        return _not_answered(error, doing)
    details = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return from_code(code_of(error), str(details.get("Message", "")), doing, action, resource, status=status)


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
    for codes, next_step in _NEXT_STEPS:
        if code in codes:
            return AwsError(doing, said, next_step)
    if code in _BROKEN or status >= _FIRST_SERVER_ERROR:
        return AwsError(doing, said, "AWS itself failed, also after retries; wait a minute, then run it again")
    return AwsError(doing, said, f"look up this code in the documentation of {action}, correct the cause, run it again")


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


def _not_answered(error: BotoCoreError, doing: str) -> AwsError:
    """The call never got an answer, or was never made; by the class of the error and of what caused it."""
    names = {base.__name__ for cause in _causes(error) for base in type(cause).__mro__}
    where = _host(error)
    for wanted, what, next_step in _NOT_ANSWERED:
        if wanted & names:
            return AwsError(doing, f"{what}{where}", next_step)
    return AwsError(doing, f"{type(error).__name__}{where}", "look at the network and the proxy, then run it again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: botocore keeps urllib3's error as an argument, Python as cause or context."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            waiting += [getattr(current, "kwargs", {}).get("error"), getattr(current, "reason", None)]
            waiting += [current.__cause__, current.__context__]


def _host(error: BotoCoreError) -> str:
    """Only the host of the endpoint: an address may hold a query, and a proxy's a password."""
    parts = urllib.parse.urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    return f" ({parts.hostname})" if parts.hostname else ""


_KEYS_STEP = "attach an instance profile, or put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the bootstrap file"
_NETWORK_STEP = "look at routes, security groups, DNS and HTTPS_PROXY/NO_PROXY of the bootstrap file, then run it again"
# The first that fits: what is more exact stands before what it is a kind of.
_NOT_ANSWERED = (
    (
        {"ProxyConnectionError", "ProxyError"},
        "the proxy does not answer",
        "start the proxy (Squid), correct HTTPS_PROXY",
    ),
    (
        {"SSLError", "SSLCertVerificationError"},
        "TLS failed",
        "check the clock; if a proxy inspects TLS, install its authority on the host (or set AWS_CA_BUNDLE)",
    ),
    (
        {"NameResolutionError", "gaierror"},
        "the name does not resolve",
        "look at AWS_REGION and at the host's DNS; a private subnet needs a VPC endpoint, a NAT or a proxy",
    ),
    ({"ConnectTimeoutError", "ConnectTimeout"}, "no connection in time", _NETWORK_STEP),
    ({"ReadTimeoutError"}, "no answer in time", "run it again; if it stays so, look at the proxy or the VPC endpoint"),
    (
        {"NoCredentialsError", "CredentialRetrievalError", "PartialCredentialsError"},
        "no usable credentials",
        _KEYS_STEP,
    ),
    ({"NoRegionError", "InvalidRegionError"}, "no usable region", "set AWS_REGION in the bootstrap file"),
    ({"IncompleteReadError", "ResponseStreamingError"}, "the answer broke off", "run it again"),
    ({"ConnectionError", "EndpointConnectionError", "ConnectionClosedError"}, "the connection failed", _NETWORK_STEP),
)
