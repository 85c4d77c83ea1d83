"""Web identity and container credentials through the SDK's own providers, against real servers on loopback."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.aws import chain
from agent.aws.credentials import Credentials
from agent.aws.session import AwsSession
from agent.errors import AccessDenied, AgentError, AwsError, BootstrapError
from agent.host.paths import Paths
from agent.host.proxy import Proxies
from agent.steps.identity import establish
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import FakeClock, refusing_address
from tests.unit.test_identity import bootstrap, client

ROLE = "arn:aws:iam::123456789012:role/api"
ANSWER = """<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/api/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>c4naryV4lue</SecretAccessKey>
<SessionToken>t0ken</SessionToken><Expiration>2126-01-02T09:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
KEYS = {
    "AccessKeyId": "ASIA1",
    "SecretAccessKey": "c4naryV4lue",
    "Token": "t0ken",
    "Expiration": "2126-01-02T09:00:00Z",
}


class Sts:
    """Gives keys for the web identity of the tests, others each time."""

    def __init__(self, refusal: Reply | None = None) -> None:
        self.asked: list[Mapping[str, str]] = []
        self._refusal = refusal

    def __call__(self, request: Request) -> Reply:
        assert "authorization" not in request.headers, "the call is not signed"
        query = dict(urllib.parse.parse_qsl(request.body.decode()))
        assert query["Action"] == "AssumeRoleWithWebIdentity"
        self.asked.append(query)
        return self._refusal or Reply(body=ANSWER.format(number=len(self.asked)).encode())


def web_identity(url: str, token: Path, **more: str) -> Credentials:
    variables = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE, "AWS_ENDPOINT_URL_STS": url, **more}
    found = chain.find(variables, "eu-west-1", Proxies())
    assert found is not None
    return found


def container(variables: Mapping[str, str]) -> Credentials:
    found = chain.find(variables, "eu-west-1", Proxies())
    assert found is not None
    return found


def failure(credentials: Credentials) -> AgentError:
    with pytest.raises(AgentError) as caught:
        credentials.fetch()
    assert "c4naryV4lue" not in f"{caught.value} {caught.value.next_step} {caught.value.details}"
    return caught.value


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("the-web-identity")
    return tmp_path / "token"


@pytest.mark.parametrize(
    "variables", [{}, {"AWS_ROLE_ARN": ROLE}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": ROLE}]
)
def test_without_the_variables_there_is_nothing(variables: dict[str, str]) -> None:
    assert chain.find(variables, "eu-west-1", Proxies()) is None


def test_a_web_identity_becomes_keys_and_later_ones_are_asked_for_again(token: Path) -> None:
    sts = Sts()
    with Loopback(sts) as server:
        found = web_identity(server.url, token, AWS_ROLE_SESSION_NAME="api-1")
        assert server.requests == []
        first, second = found.fetch(), found.fetch()

    assert (first.access_key_id.reveal(), second.access_key_id.reveal()) == ("ASIA1", "ASIA2")
    assert first.session_token is not None
    assert first.session_token.reveal() == "t0ken"
    assert first.expires == "2126-01-02T09:00:00+00:00"
    asked = sts.asked[0]
    assert (asked["WebIdentityToken"], asked["RoleArn"], asked["RoleSessionName"]) == (
        "the-web-identity",
        ROLE,
        "api-1",
    )


def test_a_web_identity_s_keys_sign_the_calls_of_a_session(token: Path) -> None:
    with Loopback(Sts()) as server, Loopback(lambda _: Reply(body=b"<ListBucketResult/>")) as s3:
        session = AwsSession("eu-west-1", web_identity(server.url, token), Proxies(), {"AWS_ENDPOINT_URL_S3": s3.url})
        session.s3().list_objects_v2(Bucket="b")

    assert s3.requests[0].headers["x-amz-security-token"] == "t0ken"


def test_a_web_identity_without_a_role_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(BootstrapError, match="AWS_ROLE_ARN is not") as caught:
        chain.find({"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, "eu-west-1", Proxies())

    assert caught.value.exit_status == 78


def test_a_token_file_that_is_gone_is_told_and_no_bug(tmp_path: Path) -> None:
    error = failure(web_identity(refusing_address(), tmp_path / "absent"))

    assert isinstance(error, AwsError)
    assert "No such file or directory" in error.cause
    assert str(tmp_path / "absent") in error.doing


def test_a_web_identity_that_is_refused_is_told_as_that(token: Path) -> None:
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>"
    with Loopback(Sts(Reply(403, body))) as server:
        error = failure(web_identity(server.url, token))

    assert isinstance(error, AccessDenied)
    assert "sts:AssumeRoleWithWebIdentity" in error.cause


def test_container_credentials_come_from_their_endpoint_with_its_token(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("from-the-file")
    with Loopback(lambda _: Reply(body=json.dumps(KEYS).encode())) as server:
        variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/role"}
        keys = container({**variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "plain"}).fetch()
        container({**variables, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "auth")}).fetch()

    assert keys.access_key_id.reveal() == "ASIA1"
    assert keys.expires is not None
    assert [request.headers["authorization"] for request in server.requests] == ["plain", "from-the-file"]


def test_the_relative_address_leads_to_the_container_s_own_service() -> None:
    found = container({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"})

    assert found.source == "container credentials (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)"


@pytest.mark.parametrize(
    ("uri", "token", "said"),
    [
        ("http://example.com/x", "t", "not allowed"),
        ("http://127.0.0.1:1/x", "c4naryV4lue\nx", "not allowed"),
    ],
)
def test_an_endpoint_that_the_sdk_refuses_is_told_and_no_bug(uri: str, token: str, said: str) -> None:
    found = container({"AWS_CONTAINER_CREDENTIALS_FULL_URI": uri, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token})

    assert said in failure(found).cause


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"AccessKeyId": "c4naryV4lue"}'])
def test_an_answer_that_is_incomplete_is_told_and_no_bug(body: bytes) -> None:
    with Loopback(lambda _: Reply(body=body)) as server:
        error = failure(container({"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url}))

    assert "incomplete" in error.cause


def test_what_the_chain_found_is_used_and_the_metadata_service_is_not_asked(token: Path, tmp_path: Path) -> None:
    with Loopback(Sts()) as server, Loopback(lambda _: Reply(500)) as imds:
        who = establish(
            bootstrap(), client(imds.url), Paths(tmp_path), FakeClock().deadline(), web_identity(server.url, token)
        )
        assert who.credentials.fetch().access_key_id.reveal() == "ASIA1"

    assert imds.requests == []
    assert len(server.requests) == 1
    assert who.text == f"web identity, role {ROLE} (account 123456789012)"
    assert not who.from_imds


@pytest.mark.parametrize(
    ("arn", "account"),
    [(ROLE, "123456789012"), ("arn:aws-cn:iam::000000000001:role/a/b", "000000000001"), ("api", None), ("", None)],
)
def test_the_account_is_in_the_arn_of_a_role(arn: str, account: str | None) -> None:
    assert chain.account_of_role(arn) == account
