"""Every error of botocore becomes one of the agent's, with a next step; decided by code and class."""

from __future__ import annotations

import json
import socket

import botocore.exceptions as sdk
import pytest
import urllib3.exceptions

from agent.aws.failures import calling, translate
from agent.errors import AccessDenied, AgentError, AwsError
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
        (sdk.ProxyConnectionError(proxy_url="http://user:c4nary@10.0.1.5:3128"), "the proxy does not answer"),
        (sdk.ConnectionClosedError(endpoint_url=URL), "the connection failed"),
        (sdk.EndpointConnectionError(endpoint_url=URL, error=ConnectionRefusedError()), "the connection failed"),
        (
            sdk.EndpointConnectionError(
                endpoint_url=URL,
                error=urllib3.exceptions.NameResolutionError("host", None, socket.gaierror()),  # type: ignore[arg-type]
            ),
            "the name does not resolve",
        ),
        (sdk.NoCredentialsError(), "no usable credentials"),
        (sdk.NoRegionError(), "no usable region"),
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


def test_the_context_manager_translates_errors_of_the_sdk_and_keeps_them_as_cause() -> None:
    original = denied("X", "ssm:GetParametersByPath")

    with pytest.raises(AccessDenied) as caught, calling(*ASKED):
        raise original

    assert caught.value.__cause__ is original
    assert caught.value.doing == ASKED[0]


def test_the_context_manager_lets_other_errors_pass() -> None:
    with pytest.raises(KeyError), calling(*ASKED):
        raise KeyError
