"""Calls that got no answer of AWS: the network, the proxy, TLS, keys that are not there, or nothing that can be asked.

Decided by the classes of what was raised and by the system's error numbers. One thing stands in no class and no
number: what a proxy answered to CONNECT, which urllib3 puts into a sentence.
"""

from __future__ import annotations

import errno
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.errors import AccessDenied, AgentError, AwsError, BootstrapError
from agent.host import proxy_url

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError

_KEYS_STEP = "attach an instance profile, or put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the bootstrap file"
_NETWORK_STEP = "look at routes, security groups, DNS and HTTPS_PROXY/NO_PROXY of the bootstrap file, then run it again"
# The first that fits: what is more exact stands before what it is a kind of.
_CLASSES = (
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
    ({"IncompleteReadError", "ResponseStreamingError"}, "the answer broke off", "run it again"),
    ({"ConnectionError", "EndpointConnectionError", "ConnectionClosedError"}, "the connection failed", _NETWORK_STEP),
)
# What the SDK does not even send, today or later: only another setting helps. Its texts hold the value.
_SETTINGS = (
    ({"NoRegionError", "InvalidRegionError"}, "no usable region", "set AWS_REGION in the bootstrap file"),
    (
        {"ParamValidationError", "UnsupportedS3ArnError", "UnsupportedS3AccesspointConfigurationError"}
        | {"UnsupportedOutpostResourceError", "InvalidHostLabelError", "InvalidDNSNameError"},
        "no such name can be asked for",
        "correct the bucket, the names and the ARNs in the bootstrap file and the manifest",
    ),
    (
        {"EndpointProviderError", "BaseEndpointResolverError", "InvalidEndpointConfigurationError"}
        | {"UnsupportedS3ConfigurationError"},
        "these settings leave no address to ask",
        "correct AWS_REGION, the ARNs, AWS_ENDPOINT_URL* and AWS_USE_*_ENDPOINT in the bootstrap file",
    ),
)
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_FIRST_SERVER_ERROR = 500
_WRONG_PASSWORD = 407
_TRY_LATER = frozenset({408, 429})


def translate(error: BotoCoreError, doing: str) -> AgentError:
    """The error to raise instead."""
    causes = list(_causes(error))
    names = {base.__name__ for cause in causes for base in type(cause).__mro__}
    if names & {"ProxyConnectionError", "ProxyError"}:
        return _at_the_proxy(error, causes, doing)
    where = _host(error)
    if names & {"SSLError", "SSLCertVerificationError"}:
        return _no_trust(causes, where, doing)
    if any(isinstance(cause, OSError) and cause.errno in _NO_ROUTE for cause in causes):
        return AwsError(
            doing,
            f"no route to it{where}",
            "look at the host's routes; one that has IPv6 alone needs AWS_USE_DUALSTACK_ENDPOINT=true in the bootstrap"
            " file, or a NAT64, or a proxy",
        )
    for wanted, what, next_step in _SETTINGS:
        if wanted & names:
            return BootstrapError(doing, f"{what} ({type(error).__name__})", next_step)
    for wanted, what, next_step in _CLASSES:
        if wanted & names:
            return AwsError(doing, f"{what}{where}{_reason(causes)}", next_step)
    return AwsError(doing, f"{type(error).__name__}{where}", "look at the network and the proxy, then run it again")


def is_final(error: Exception) -> bool:
    """Whether another attempt would only fail in the same way: a certificate, or a proxy that says no."""
    causes = list(_causes(error))
    status = _tunnel_status(causes)
    said_no = status is not None and status < _FIRST_SERVER_ERROR and status not in _TRY_LATER
    return said_no or any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)


def wrong_proxy_password(doing: str, where: str = "") -> AccessDenied:
    """What to raise when a proxy (at `where`) answers with 407."""
    return AccessDenied(
        doing,
        f"the proxy{where} wants another user and password (407)",
        "correct them in HTTP_PROXY and HTTPS_PROXY of the bootstrap file (what is no letter or digit as %XX)",
    )


def _at_the_proxy(error: BotoCoreError, causes: list[BaseException], doing: str) -> AgentError:
    url = str(getattr(error, "kwargs", {}).get("proxy_url") or "")
    where = f" {proxy_url.shown(url)}" if url else ""
    status = _tunnel_status(causes)
    if status == _WRONG_PASSWORD:
        return wrong_proxy_password(doing, where)
    if status is not None and status < _FIRST_SERVER_ERROR:
        return AccessDenied(
            doing,
            f"the proxy{where} does not let this host connect ({status})",
            "allow this host and *.amazonaws.com in the proxy's own rules (Squid: acl, http_access)",
        )
    if status is not None:
        return AwsError(
            doing,
            f"the proxy{where} answers, and could not connect ({status})",
            "look at DNS and routes of the proxy's host, and at AWS_REGION; then run it again",
        )
    if "gaierror" in {type(cause).__name__ for cause in causes}:
        return AwsError(
            doing, f"the name of the proxy{where} does not resolve", "correct HTTPS_PROXY, or the host's DNS"
        )
    return AwsError(
        doing,
        f"the proxy{where} does not answer{_reason(causes)}",
        "start the proxy (Squid), or correct HTTPS_PROXY in the bootstrap file",
    )


def _no_trust(causes: list[BaseException], where: str, doing: str) -> AwsError:
    said = next(
        (f": {cause.verify_message}" for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), ""
    )
    return AwsError(
        doing,
        f"TLS failed{where}{said}",
        "check the clock; if a proxy inspects TLS, install its authority on the host (or set AWS_CA_BUNDLE to a file"
        " that has it)",
    )


def _tunnel_status(causes: list[BaseException]) -> int | None:
    """What the proxy answered when it was asked for a tunnel."""
    found = (_TUNNEL.search(str(cause)) for cause in causes if isinstance(cause, OSError))
    return next((int(match[1]) for match in found if match), None)


def _reason(causes: list[BaseException]) -> str:
    """The system's own words (`Connection refused`)."""
    return next((f": {cause.strerror}" for cause in causes if isinstance(cause, OSError) and cause.strerror), "")


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
            waiting += [current.__cause__, current.__context__, *current.args]


def _host(error: BotoCoreError) -> str:
    """Only the host of the endpoint: an address may hold a query, and a proxy's a password."""
    parts = urllib.parse.urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
    return f" ({parts.hostname})" if parts.hostname else ""
