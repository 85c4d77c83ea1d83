"""Attempts of AWS calls through a real SDK session: which are made, which are not, and that they end with the run."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError, ProxyConnectionError

from agent.aws.credentials import Credentials, Keys
from agent.aws.parameters import Parameters
from agent.aws.retrying import ATTEMPTS, HASTY_ATTEMPTS
from agent.aws.session import AwsSession
from agent.host.clock import Deadline, SystemClock
from agent.host.proxy import Proxies
from agent.report.record import Recorder
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import HEAD, FakeClock, Sayings, refusing_address

OLD = Keys(Secret("ASIAOLD"), Secret("x"), Secret("t"), "2999-01-01T00:00:00Z")
NEW = Keys(Secret("ASIANEW"), Secret("x"), Secret("t"), "2999-01-01T00:00:00Z")
STATIC = Keys(Secret("AKIASTATIC"), Secret("x"))


def session(
    url: str,
    *keys: Keys,
    deadline: Deadline | None = None,
    proxies: Proxies | None = None,
    region: str = "eu-west-1",
    hasty: bool = False,
    chance: Callable[[], float] = random.random,
) -> AwsSession:
    waiting = list(keys or (STATIC,))
    credentials = Credentials(source="test", fetch=lambda: waiting.pop(0))
    variables = {"AWS_ENDPOINT_URL": url}
    return AwsSession(
        region, credentials, proxies or Proxies(), variables, hasty=hasty, deadline=deadline, chance=chance
    )


def refusal(code: str, status: int = 400) -> Reply:
    return Reply(status, json.dumps({"__type": code, "message": "no"}).encode())


def seconds(left: float) -> Deadline:
    return Deadline.after(SystemClock(), left)


def ask(made: AwsSession) -> None:
    made.ssm().get_parameters_by_path(Path="/x/")


def test_keys_that_aws_calls_expired_are_fetched_again_once_and_the_call_is_signed_anew() -> None:
    def answer(request: Request) -> Reply:
        return Reply(body=b"{}") if "ASIANEW" in request.headers["authorization"] else refusal("ExpiredTokenException")

    with Loopback(answer) as server:
        ask(session(server.url, OLD, NEW))

    assert len(server.requests) == 2


def test_keys_that_stay_expired_are_not_fetched_for_every_call() -> None:
    with Loopback(lambda _: refusal("ExpiredTokenException")) as server:
        made = session(server.url, OLD, NEW)
        for _ in range(2):
            with pytest.raises(ClientError, match="ExpiredToken"):
                ask(made)

    assert len(server.requests) == 4


def test_keys_that_cannot_be_had_again_are_refused_at_once() -> None:
    with Loopback(lambda _: refusal("ExpiredTokenException")) as server, pytest.raises(ClientError):
        ask(session(server.url))

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ValidationException", "ResourceNotFoundException", "InvalidSignatureException"]
)
def test_what_stays_so_is_asked_once(code: str) -> None:
    with Loopback(lambda _: refusal(code)) as server, pytest.raises(ClientError, match=code):
        ask(session(server.url))

    assert len(server.requests) == 1


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServerError", 500)])
@pytest.mark.slow
def test_no_pause_is_begun_that_outlasts_the_run(code: str, status: int) -> None:
    deadline = seconds(3)
    with Loopback(lambda _: refusal(code, status)) as server, pytest.raises(ClientError, match=code):
        ask(session(server.url, deadline=deadline))

    assert deadline.left() > 0
    assert 2 <= len(server.requests) <= ATTEMPTS


@pytest.mark.slow
def test_an_address_where_nobody_listens_is_told_within_the_run_as_well() -> None:
    deadline = seconds(2)
    with pytest.raises(Exception, match="Could not connect"):
        ask(session(refusing_address(), deadline=deadline))

    assert deadline.left() > 0


def test_after_the_run_s_deadline_a_restore_still_gets_its_retries() -> None:
    replies = [refusal("InternalServerError", 500), Reply(body=b"{}")]
    with Loopback(lambda _: replies.pop(0)) as server:
        ask(session(server.url, deadline=seconds(0)))

    assert len(server.requests) == 2


def test_a_proxy_that_refuses_the_password_is_asked_once() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Reply:
        asked.append(request.method)
        return Reply(407)

    with Loopback(answer) as proxy:
        made = session("http://ssm.test", proxies=Proxies.of({"HTTP_PROXY": proxy.url}))
        with pytest.raises(ClientError, match="407"):
            ask(made)

    assert asked == ["POST"]


def test_a_proxy_that_is_down_is_tried_again() -> None:
    with pytest.raises(ProxyConnectionError):
        ask(session("http://ssm.test", proxies=Proxies.of({"HTTP_PROXY": refusing_address()}), deadline=seconds(1)))


def test_a_bucket_in_another_region_is_asked_there_and_told_once() -> None:
    def answer(request: Request) -> Reply:
        if "/us-east-1/s3/" in request.headers["authorization"]:
            return Reply(body=b"<ListBucketResult></ListBucketResult>")
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-east-1</Region></Error>"
        return Reply(400, body, {"x-amz-bucket-region": "us-east-1"})

    sink = Sayings()
    with Loopback(answer) as server, Recorder(HEAD, FakeClock(), [sink]).step("manifest", "x"):
        made = session(server.url)
        for _ in range(2):
            made.s3().list_objects_v2(Bucket="delphi-config", Prefix="p/")

    assert made.moved == {"delphi-config": "us-east-1"}
    warned = [line for line in sink.lines if line.startswith("warning bucket.elsewhere")]
    assert len(warned) == 1
    assert "the bucket delphi-config is in us-east-1 and AWS_REGION is eu-west-1" in warned[0]


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_bucket_elsewhere_of_which_nobody_says_where_is_an_error_and_not_looked_for_for_ever(status: int) -> None:
    def answer(request: Request) -> Reply:
        return Reply(status, b"" if request.method == "HEAD" else b"<Error><Code>PermanentRedirect</Code></Error>")

    with Loopback(answer) as server, pytest.raises(ClientError, match="PermanentRedirect"):
        session(server.url).s3().list_objects_v2(Bucket="delphi-config", Prefix="p/")

    assert [request.method for request in server.requests] == ["GET", "HEAD"]


def test_what_is_tried_again_is_shown_while_it_is() -> None:
    replies = [refusal("ThrottlingException"), Reply(body=b"{}")]
    sink = Sayings()
    with Loopback(lambda _: replies.pop(0)) as server, Recorder(HEAD, FakeClock(), [sink]).step("values", "x") as step:
        ask(session(server.url))

    assert (step.costs.calls, step.costs.retries, step.costs.throttled) == (2, 1, 1)
    assert any("AWS (GetParametersByPath, attempt 2: ThrottlingException)" in line for line in sink.lines)


@pytest.mark.slow
def test_the_timeline_has_a_call_by_its_name_with_its_attempts_and_its_end() -> None:
    replies = [refusal("ThrottlingException"), Reply(body=b"{}"), refusal("AccessDeniedException")]
    recorder = Recorder(HEAD, FakeClock(), [])
    with Loopback(lambda _: replies.pop(0)) as server, recorder.step("values", "x"):
        made = session(server.url)
        ask(made)
        with pytest.raises(ClientError):
            ask(made)

    first, second = recorder.spans.document(str)
    assert first | {"started": 0, "seconds": 0} == {
        "kind": "aws",
        "name": "ssm:GetParametersByPath",
        "step": "values",
        "started": 0,
        "seconds": 0,
        "count": 1,
        "attempts": 2,
        "failed": 0,
        "error": None,
    }
    assert (second["attempts"], second["failed"], second["error"]) == (1, 1, "AccessDeniedException")


def test_a_call_without_an_answer_is_in_the_timeline_with_its_cause() -> None:
    recorder = Recorder(HEAD, FakeClock(), [])
    made = session(refusing_address(), deadline=seconds(1))
    with recorder.step("values", "x"), pytest.raises(Exception, match="Could not connect"):
        ask(made)

    (span,) = recorder.spans.document(str)
    assert (span["error"], span["seconds"]) == ("EndpointConnectionError", 0)


def test_the_sdk_makes_no_attempt_of_its_own() -> None:
    with Loopback(lambda _: refusal("InternalServerError", 500)) as server, pytest.raises(ClientError):
        ask(session(server.url, hasty=True))

    assert len(server.requests) == HASTY_ATTEMPTS


@pytest.mark.slow
def test_what_is_throttled_outlasts_the_attempts_and_the_retry_quota_of_the_sdk() -> None:
    replies = [refusal("ThrottlingException")] * 110 + [Reply(body=b"{}")]
    with Loopback(lambda _: replies.pop(0)) as server:
        made = session(server.url, deadline=seconds(60), chance=lambda: 0.001)
        ask(made)

    assert replies == []


def test_a_page_that_is_throttled_is_asked_for_again_by_its_own_token() -> None:
    def page(token: str) -> Reply:
        return Reply(body=json.dumps({"Parameters": [], **({"NextToken": token} if token else {})}).encode())

    replies = [
        page("one"),
        *[refusal("ThrottlingException")] * 12,
        page("two"),
        refusal("ThrottlingException"),
        page(""),
    ]
    with Loopback(lambda _: replies.pop(0)) as server:
        made = session(server.url, deadline=seconds(60), chance=lambda: 0.001)
        Parameters(made.ssm()).under("/x/")

    tokens = [json.loads(request.body).get("NextToken", "") for request in server.requests]
    assert tokens == ["", *["one"] * 13, *["two"] * 2]


def test_429_without_a_code_is_throttling_too() -> None:
    replies = [Reply(429), Reply(body=b"{}")]
    with Loopback(lambda _: replies.pop(0)) as server:
        ask(session(server.url, deadline=seconds(60)))

    assert replies == []


def test_aws_may_say_how_long_to_wait() -> None:
    replies = [replace(refusal("ThrottlingException"), headers={"x-amz-retry-after": "300"}), Reply(body=b"{}")]
    began = time.monotonic()
    with Loopback(lambda _: replies.pop(0)) as server:
        ask(session(server.url, deadline=seconds(60), chance=lambda: 0.0))

    assert time.monotonic() - began >= 0.3
