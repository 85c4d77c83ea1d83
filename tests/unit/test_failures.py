"""Every error of botocore becomes one of the agent's, with a next step; decided by code and class."""

from __future__ import annotations

import datetime as dt
import email.utils
import errno
import json
import socket
import ssl

import botocore.exceptions as sdk
import pytest
import urllib3.exceptions

from agent.aws.failures import calling, translate
from agent.aws.unanswered import is_final
from agent.errors import AccessDenied, AgentError, AwsError, BootstrapError
from tests.unit.fakes_aws import PRINCIPAL, denied, refusal

ASKED = (
    "reading parameters under /ns/api/",
    "ssm:GetParametersByPath",
    "arn:aws:ssm:eu-central-1:*:parameter/ns/api/*",
)


def told(error: sdk.ClientError | sdk.BotoCoreError) -> AgentError:
    return translate(error, *ASKED)


def test_a_denial_names_action_resource_and_principal_and_holds_a_valid_statement() -> None:
    error = told(denied("GetParametersByPath", "ssm:GetParametersByPath"))

    assert isinstance(error, AccessDenied)
    assert error.exit_status == 77
    assert PRINCIPAL in error.cause
    statement = json.loads(error.details[0].removeprefix("IAM statement: "))
    assert statement == {"Effect": "Allow", "Action": ASKED[1], "Resource": ASKED[2]}
    assert "because no policy" in error.details[1]


def test_a_denial_by_kms_behind_another_service_asks_for_the_right_of_kms() -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/1234"
    message = f"User: {PRINCIPAL} is not authorized to perform: kms:Decrypt on resource: {key} because no identity"
    error = told(refusal("GetParametersByPath", "AccessDeniedException", message))

    assert json.loads(error.details[0].partition(": ")[2])["Action"] == "kms:Decrypt"
    assert key in error.cause


def test_a_denial_without_a_readable_message_still_names_what_was_asked() -> None:
    error = told(refusal("HeadBucket", "403", "Forbidden", 403))

    assert isinstance(error, AccessDenied)
    assert ASKED[1] in error.cause


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"])
def test_unknown_credentials_are_access_denied_since_a_restart_cannot_help(code: str) -> None:
    error = told(refusal("X", code, "The security token is invalid"))

    assert isinstance(error, AccessDenied)
    assert "AWS_ACCESS_KEY_ID" in error.next_step


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [
        ("ExpiredTokenException", 400, "expired"),
        ("RequestTimeTooSkewed", 403, "clock"),
        ("SignatureDoesNotMatch", 403, "clock"),
        ("ThrottlingException", 400, "throttling"),
        ("SlowDown", 503, "throttling"),
        ("PermanentRedirect", 301, "region"),
        ("AuthorizationHeaderMalformed", 400, "region"),
        ("DecryptionFailure", 400, "KMS"),
        ("InternalServerError", 500, "AWS itself"),
        ("Whatever", 502, "AWS itself"),
        ("ValidationException", 400, "ssm:GetParametersByPath"),
    ],
)
def test_each_code_has_its_next_step(code: str, status: int, word: str) -> None:
    error = told(refusal("X", code, "text", status))

    assert type(error) is AwsError
    assert code in error.cause
    assert word in error.next_step


URL = "https://ssm.eu-central-1.amazonaws.com/?token=c4nary"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sdk.ConnectTimeoutError(endpoint_url=URL), "no connection in time"),
        (sdk.ReadTimeoutError(endpoint_url=URL), "no answer in time"),
        (sdk.SSLError(endpoint_url=URL, error=ValueError("c4nary")), "TLS failed"),
        (
            sdk.ProxyConnectionError(proxy_url="http://user:c4nary@10.0.1.5:3128"),
            "the proxy 10.0.1.5:3128 does not answer",
        ),
        (sdk.ConnectionClosedError(endpoint_url=URL), "the connection failed"),
        (sdk.EndpointConnectionError(endpoint_url=URL, error=ConnectionRefusedError()), "the connection failed"),
        (
            sdk.EndpointConnectionError(
                endpoint_url=URL,
                error=urllib3.exceptions.NameResolutionError("host", None, socket.gaierror()),  # type: ignore[arg-type]  # the pool is of no account here
            ),
            "the name does not resolve",
        ),
        (sdk.NoCredentialsError(), "no usable credentials"),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), "the answer broke off"),
        (sdk.UnknownServiceError(service_name="x", known_service_names="y"), "UnknownServiceError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_class_has_its_words_and_only_the_host_of_an_address_is_shown(
    error: sdk.BotoCoreError, words: str
) -> None:
    result = told(error)

    assert type(result) is AwsError
    assert words in result.cause
    assert "c4nary" not in f"{result}{result.next_step}{result.details}"
    if "endpoint_url" in error.kwargs:
        assert "(ssm.eu-central-1.amazonaws.com)" in result.cause


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sdk.NoRegionError(), "no usable region (NoRegionError)"),
        (sdk.InvalidRegionError(region_name="c4nary"), "no usable region (InvalidRegionError)"),
        (sdk.ParamValidationError(report='Invalid bucket name "c4nary"'), "no such name can be asked for"),
        (sdk.UnsupportedS3ArnError(arn="c4nary"), "no such name can be asked for"),
        (sdk.EndpointResolutionError(msg="c4nary"), "these settings leave no address to ask"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_sdk_never_sends_is_a_fault_of_the_settings_and_none_of_the_network(
    error: sdk.BotoCoreError, words: str
) -> None:
    result = told(error)

    assert type(result) is BootstrapError
    assert words in result.cause
    assert "c4nary" not in f"{result}{result.next_step}{result.details}"


def behind_a_proxy(cause: Exception) -> sdk.ProxyConnectionError:
    """As botocore has it: urllib3's error inside, the password masked."""
    error = urllib3.exceptions.ProxyError("Unable to connect to proxy", cause)
    return sdk.ProxyConnectionError(proxy_url="http://***:***@10.0.1.5:3128", error=error)


@pytest.mark.parametrize(
    ("cause", "code", "words"),
    [
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), 77, "another user and password (407)"),
        (OSError("Tunnel connection failed: 403 Forbidden"), 77, "does not let this host connect (403)"),
        (OSError("Tunnel connection failed: 503 Service Unavailable"), 69, "answers, and could not connect (503)"),
        (ConnectionRefusedError(111, "Connection refused"), 69, "does not answer: Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), 69, "10.0.1.5:3128 does not resolve"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_failure_of_the_proxy_is_told_as_that_with_its_address(cause: Exception, code: int, words: str) -> None:
    error = told(behind_a_proxy(cause))

    assert error.exit_status == code
    assert words in error.cause
    assert "10.0.1.5:3128" in error.cause


def test_a_proxy_s_407_to_a_call_without_tls_is_told_like_one_to_a_tunnel() -> None:
    error = told(refusal("X", "407", "Proxy Authentication Required", 407))

    assert isinstance(error, AccessDenied)
    assert "the proxy wants another user and password" in error.cause


def test_a_certificate_that_is_not_trusted_is_told_in_the_words_of_tls() -> None:
    inner = ssl.SSLCertVerificationError("x")
    inner.verify_message = "unable to get local issuer certificate"
    error = told(sdk.SSLError(endpoint_url=URL, error=urllib3.exceptions.SSLError(inner)))

    assert error.cause == "TLS failed (ssm.eu-central-1.amazonaws.com): unable to get local issuer certificate"
    assert "AWS_CA_BUNDLE" in error.next_step


def test_a_host_without_a_route_is_told_of_the_dual_stack_names() -> None:
    inner = OSError(errno.ENETUNREACH, "Network is unreachable")
    error = told(sdk.EndpointConnectionError(endpoint_url=URL, error=inner))

    assert error.cause == "no route to it (ssm.eu-central-1.amazonaws.com)"
    assert "AWS_USE_DUALSTACK_ENDPOINT=true" in error.next_step


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (behind_a_proxy(OSError("Tunnel connection failed: 407 x")), True),
        (behind_a_proxy(OSError("Tunnel connection failed: 403 x")), True),
        (behind_a_proxy(OSError("Tunnel connection failed: 429 x")), False),
        (behind_a_proxy(OSError("Tunnel connection failed: 503 x")), False),
        (behind_a_proxy(ConnectionRefusedError()), False),
        (sdk.SSLError(endpoint_url=URL, error=ssl.SSLCertVerificationError("x")), True),
        (sdk.SSLError(endpoint_url=URL, error=ssl.SSLEOFError("x")), False),
        (sdk.ConnectTimeoutError(endpoint_url=URL), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_what_stays_so_is_not_tried_again(error: sdk.BotoCoreError, *, final: bool) -> None:
    assert is_final(error) == final


def signed_badly(code: str, seconds: float | None) -> AgentError:
    """The error for an answer of AWS's whose `Date` is so many seconds from now."""
    failure = refusal("X", code, "made up", 403)
    if seconds is not None:
        date = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
        failure.response["ResponseMetadata"]["HTTPHeaders"] = {"date": email.utils.format_datetime(date)}
    return told(failure)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(7384.5, "2 h 3 min 4 s behind AWS"), (-600.5, "10 min 1 s ahead of AWS"), (-86400.5, "24 h 1 s ahead of AWS")],
)
@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"])
def test_a_wrong_clock_is_told_with_by_how_much(code: str, seconds: float, words: str) -> None:
    error = signed_badly(code, seconds)

    assert type(error) is AwsError
    # The second may pass between making the answer and reading it.
    assert words.rpartition(" s ")[2] in error.cause
    assert words.split(" ")[:2] == error.cause.removeprefix("this host's clock is ").split(" ")[:2]


def test_a_right_clock_leaves_a_wrong_secret_key() -> None:
    error = signed_badly("SignatureDoesNotMatch", 2)

    assert isinstance(error, AccessDenied)
    assert "AWS_SECRET_ACCESS_KEY" in error.next_step


def test_a_request_that_was_too_old_under_a_right_clock_was_slow() -> None:
    assert "slow" in signed_badly("RequestTimeTooSkewed", 2).next_step


def test_a_bucket_elsewhere_is_told_with_its_region() -> None:
    failure = refusal("ListObjectsV2", "PermanentRedirect", "use another endpoint", 301)
    failure.response["ResponseMetadata"]["HTTPHeaders"] = {"x-amz-bucket-region": "us-east-1"}

    assert told(failure).cause.endswith("; the bucket is in us-east-1")


def test_the_context_manager_translates_errors_of_the_sdk_and_keeps_them_as_cause() -> None:
    original = denied("X", "ssm:GetParametersByPath")

    with pytest.raises(AccessDenied) as caught, calling(*ASKED):
        raise original

    assert caught.value.__cause__ is original
    assert caught.value.doing == ASKED[0]


def test_the_context_manager_lets_other_errors_pass() -> None:
    with pytest.raises(KeyError), calling(*ASKED):
        raise KeyError
