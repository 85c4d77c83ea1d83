"""The metadata client against a real server on loopback: tokens, diagnoses, and never a proxy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

import pytest

from agent.aws.imds import SCHEMA, Imds
from agent.errors import AgentError, ImdsError
from agent.host.clock import Deadline, SystemClock
from agent.report.record import Recorder
from tests.unit import children, fakes
from tests.unit.fakes import FakeClock, Loopback, Reply, Request, Sayings, refusing_address, silent_server

ROLE = "meta-data/iam/security-credentials/"
CREDENTIALS = {
    "Code": "Success",
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "c4naryV4lue",
    "Token": "t0ken",
    "Expiration": "2126-01-02T09:00:00Z",
}
TREE = {
    "meta-data/instance-id": "i-0123456789abcdef0",
    ROLE: "api-role\n",
    f"{ROLE}api-role": json.dumps(CREDENTIALS),
}


class Service:
    """A metadata service: `tree` by path; `refuse` is how many reads get a 401 although the token is right."""

    def __init__(self, tree: dict[str, str] | None = None, refuse: int = 0, token_status: int = 200) -> None:
        self.tree = dict(TREE if tree is None else tree)
        self.refuse = refuse
        self.token_status = token_status
        self.tokens = 0
        self.broken = 0

    def __call__(self, request: Request) -> Reply:
        if (request.method, request.path) == ("PUT", "/latest/api/token"):
            if self.token_status != 200:
                return Reply(self.token_status)
            assert request.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600"
            self.tokens += 1
            return Reply(body=f"token-{self.tokens}".encode())
        assert request.method == "GET"
        if self.broken:
            self.broken -= 1
            return Reply(503)
        if self.refuse or request.headers.get("x-aws-ec2-metadata-token") != f"token-{self.tokens}":
            self.refuse -= 1
            return Reply(401)
        text = self.tree.get(request.path.removeprefix(f"/{SCHEMA}/"))
        return Reply(404) if text is None else Reply(body=text.encode())


class Racing(Imds):
    """A client with several endpoints, as one without a configured endpoint has."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__({})
        self._endpoints = tuple(endpoints)


def client(url: str) -> Imds:
    return Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})


def soon(seconds: float = 5.0) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def gave_up(imds: Imds, ask: Callable[[Imds, Deadline], object] = Imds.wait, seconds: float = 20.0) -> AgentError:
    """The error after `seconds` on a clock that moves by itself."""
    with pytest.raises(ImdsError) as caught:
        ask(imds, FakeClock().deadline(seconds))
    assert caught.value.exit_status == 69
    return caught.value


def test_the_token_is_asked_for_once() -> None:
    service = Service()
    with Loopback(service) as server:
        imds = client(server.url)
        imds.wait(soon())

        assert imds.get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"
        assert imds.role(soon()) == "api-role"
    assert service.tokens == 1


def test_a_read_without_waiting_first_gets_a_token_by_itself() -> None:
    with Loopback(Service()) as server:
        assert client(server.url).get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


def test_a_refused_token_is_renewed() -> None:
    service = Service(refuse=1)
    with Loopback(service) as server:
        assert client(server.url).get("meta-data/instance-id", FakeClock().deadline()) == "i-0123456789abcdef0"

    assert service.tokens == 2


def test_the_schema_is_pinned() -> None:
    with Loopback(Service()) as server:
        client(server.url).get("meta-data/instance-id", soon())

        assert f"/{SCHEMA}/meta-data/instance-id" == server.requests[-1].path


def test_a_slash_at_the_end_of_the_endpoint_does_no_harm() -> None:
    with Loopback(Service()) as server:
        assert client(f"{server.url}/").get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


def test_what_is_not_there_is_none() -> None:
    with Loopback(Service()) as server:
        assert client(server.url).get("meta-data/public-ipv4", soon()) is None


def test_a_failing_service_is_asked_again() -> None:
    service, clock = Service(), FakeClock()
    service.broken = 3
    with Loopback(service) as server:
        assert client(server.url).get("meta-data/instance-id", clock.deadline()) == "i-0123456789abcdef0"

    assert len(clock.sleeps) == 3


def test_no_proxy_variable_of_the_environment_is_looked_at() -> None:
    dead = refusing_address()
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    code = """
        import os
        from agent.aws.imds import Imds
        from agent.host.clock import Deadline, SystemClock

        imds = Imds(dict(os.environ))
        deadline = Deadline.after(SystemClock(), 5)
        imds.wait(deadline)
        print(imds.get("meta-data/instance-id", deadline))
    """
    with Loopback(Service()) as server:
        env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, **dict.fromkeys(names, dead)}

        assert children.python(code, env=env).out == "i-0123456789abcdef0\n"


def test_a_disabled_service_is_diagnosed_at_once() -> None:
    clock = FakeClock()
    with Loopback(Service(token_status=403)) as server, pytest.raises(ImdsError, match=r"403.*disabled") as caught:
        client(server.url).wait(clock.deadline())

    assert clock.sleeps == []
    assert "modify-instance-metadata-options" in caught.value.next_step


def test_nobody_listening_is_diagnosed() -> None:
    error = gave_up(client(refusing_address()))

    assert "no token within 20 s; the last try: Connection refused" in error.cause
    assert "HttpEndpoint=enabled" in error.next_step
    assert "AWS_ACCESS_KEY_ID" in error.next_step


def test_a_service_that_accepts_and_says_nothing_is_diagnosed_as_a_hop_limit() -> None:
    # The one test that waits for a real timeout: it is not an argument of the client.
    with silent_server() as url:
        error = gave_up(client(url), seconds=0)

    assert "no answer within 2 s" in error.cause
    assert "hop limit" in error.cause


def test_a_server_that_is_no_metadata_service_is_diagnosed() -> None:
    with Loopback(Service(token_status=404)) as server:
        assert "HTTP 404 to the token request" in gave_up(client(server.url)).cause


def test_no_role_is_told_after_a_short_wait_and_not_after_the_whole_deadline() -> None:
    clock = FakeClock()
    with Loopback(Service({})) as server:
        imds = client(server.url)
        with pytest.raises(ImdsError, match="no role is attached to this instance") as caught:
            imds.role(clock.deadline(300))

    assert 5 < sum(clock.sleeps) <= 15
    assert "attach an instance profile" in caught.value.next_step


def test_a_role_that_shows_up_late_is_used() -> None:
    service = Service({ROLE: ""})

    class Attaching(FakeClock):
        """The profile is there after the first wait."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            service.tree[ROLE] = "late-role"

    with Loopback(service) as server:
        assert client(server.url).role(Attaching().deadline()) == "late-role"


def test_the_keys_of_a_role_are_secrets_with_an_end() -> None:
    with Loopback(Service()) as server:
        keys = client(server.url).keys("api-role", soon())

    assert (keys.access_key_id.reveal(), keys.secret_access_key.reveal()) == ("ASIAEXAMPLE", "c4naryV4lue")
    assert keys.session_token is not None
    assert keys.session_token.reveal() == "t0ken"
    assert keys.expires == "2126-01-02T09:00:00Z"
    assert "c4naryV4lue" not in repr(keys)


def test_keys_that_have_expired_are_refused_with_both_times() -> None:
    tree = {**TREE, f"{ROLE}api-role": json.dumps({**CREDENTIALS, "Expiration": "2001-01-02T09:00:00Z"})}
    with Loopback(Service(tree)) as server, pytest.raises(ImdsError, match="2001-01-02T09:00:00Z") as caught:
        client(server.url).keys("api-role", soon())

    assert "timedatectl" in caught.value.next_step


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"Code": "AssumeRoleUnauthorizedAccess", "Message": "c4naryV4lue"}', "AssumeRoleUnauthorizedAccess"),
        ("{}", "none"),
        ("[]", "none"),
        ("c4naryV4lue", "no JSON"),
    ],
)
def test_keys_that_are_no_success_are_told_with_the_code_and_without_the_answer(document: str, said: str) -> None:
    with Loopback(Service({f"{ROLE}api-role": document})) as server:
        error = gave_up(client(server.url), lambda imds, deadline: imds.keys("api-role", deadline))

    assert said in error.cause
    assert "c4naryV4lue" not in f"{error} {error.next_step} {error.details}"


def test_the_first_of_two_addresses_that_gives_a_token_is_used() -> None:
    with Loopback(Service()) as server:
        for endpoints in ((refusing_address(), server.url), (server.url, refusing_address())):
            imds = Racing(endpoints)
            imds.wait(soon())

            assert imds.get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


def test_an_address_that_hangs_does_not_delay_the_one_that_answers() -> None:
    began = time.monotonic()
    with silent_server() as silent, Loopback(Service()) as server:
        Racing((silent, server.url)).wait(soon())

    assert time.monotonic() - began < 1


def test_a_service_that_listens_on_ipv6_only_is_used() -> None:
    with Loopback(Service(), host="::1") as server:
        imds = Racing((refusing_address(), server.url))
        imds.wait(soon())

        assert imds.get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


def test_when_neither_address_answers_the_first_one_is_the_diagnosis() -> None:
    with Loopback(Service(token_status=500)) as server:
        error = gave_up(Racing((server.url, refusing_address())))

    assert "HTTP 500" in error.cause
    assert " and " in error.doing


def test_who_waits_for_the_service_says_so() -> None:
    sink, service = Sayings(), Service(token_status=500)

    class Mending(FakeClock):
        """The service works after the first wait."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            service.token_status = 200

    clock = Mending()
    with Loopback(service) as server, Recorder(fakes.HEAD, clock, [sink]).step("identity", "finding out who this is"):
        client(server.url).wait(clock.deadline())

    assert "progressed identity: -, IMDS (HTTP 500 to the token request)" in sink.lines
