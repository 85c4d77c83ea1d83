"""The metadata client against a real server on loopback: tokens, diagnoses, and never a proxy."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence

import pytest

from agent.aws import imds_facts, imds_role, imds_wire
from agent.aws.imds import SCHEMA, Imds
from agent.errors import AgentError, BootstrapError, ImdsError
from agent.host.clock import Deadline, SystemClock
from agent.report.record import Recorder
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit import children, fakes
from tests.unit.fakes import FakeClock, Sayings, refusing_address, silent_server, trickling_server

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
        self._endpoints = tuple(imds_wire.endpoints({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})[0] for url in endpoints)


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
        assert imds_role.role(imds, soon()) == "api-role"
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


@pytest.mark.slow
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
            imds_role.role(imds, clock.deadline(300))

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
        assert imds_role.role(client(server.url), Attaching().deadline()) == "late-role"


def test_the_keys_of_a_role_are_secrets_with_an_end() -> None:
    with Loopback(Service()) as server:
        keys = imds_role.keys(client(server.url), "api-role", soon())

    assert (keys.access_key_id.reveal(), keys.secret_access_key.reveal()) == ("ASIAEXAMPLE", "c4naryV4lue")
    assert keys.session_token is not None
    assert keys.session_token.reveal() == "t0ken"
    assert keys.expires == "2126-01-02T09:00:00Z"
    assert "c4naryV4lue" not in repr(keys)


def test_keys_that_have_expired_are_refused_with_both_times() -> None:
    tree = {**TREE, f"{ROLE}api-role": json.dumps({**CREDENTIALS, "Expiration": "2001-01-02T09:00:00Z"})}
    with Loopback(Service(tree)) as server, pytest.raises(ImdsError, match="2001-01-02T09:00:00Z") as caught:
        imds_role.keys(client(server.url), "api-role", soon())

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
        error = gave_up(client(server.url), lambda imds, deadline: imds_role.keys(imds, "api-role", deadline))

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
    recorder = Recorder(fakes.HEAD, clock, [sink])
    with Loopback(service) as server, recorder.step("identity", "finding out who this is"):
        client(server.url).wait(clock.deadline())

    assert "progressed identity: -, IMDS (HTTP 500 to the token request)" in sink.lines
    (span,) = recorder.spans.document(str)
    assert (span["kind"], span["name"], span["attempts"], span["error"]) == ("imds", "token", 2, None)
    assert span["seconds"] == pytest.approx(sum(clock.sleeps), abs=0.001)


def test_the_timeline_names_no_role_and_no_tag() -> None:
    recorder = Recorder(fakes.HEAD, FakeClock(), [])
    with Loopback(Service()) as server, recorder.step("identity", "x"):
        made = client(server.url)
        for path in ("meta-data/iam/security-credentials/CANARYrole", "meta-data/tags/instance/CANARYtag"):
            made.get(path, FakeClock().deadline())

    spans = recorder.spans.document(str)
    assert [(span["name"], span["error"]) for span in spans] == [("meta-data/iam", None), ("meta-data/tags", None)]


# --- one request


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Endless: ", b""],
    ids=["body", "header", "status line"],
)
@pytest.mark.slow
def test_an_answer_that_trickles_ends_with_the_bound_of_its_request(head: bytes) -> None:
    began = time.monotonic()
    with trickling_server(head) as url:
        error = gave_up(client(url).hasty(), seconds=0)

    assert time.monotonic() - began < 1.5
    assert "no answer within" in error.cause


def test_an_answer_without_an_end_is_not_read_for_ever() -> None:
    with Loopback(lambda _: Reply(body=b"x" * (3 << 20))) as server:
        assert "no token to the token request" in gave_up(client(server.url)).cause


def test_an_answer_that_breaks_off_is_none_and_is_asked_for_again() -> None:
    service = Service()
    cut = [Reply(body=b"i-0123", length=19)]

    def answer(request: Request) -> Reply:
        return service(request) if request.method == "PUT" or not cut else cut.pop()

    with Loopback(answer) as loopback:
        assert client(loopback.url).get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


def test_an_answer_that_always_breaks_off_is_told() -> None:
    with Loopback(lambda _: Reply(body=b"half a to", length=56)) as loopback, pytest.raises(ImdsError) as caught:
        client(loopback.url).wait(soon(0.5))

    assert "its answer breaks off after 9 bytes" in caught.value.cause


def test_what_speaks_no_http_is_told() -> None:
    with trickling_server(b"220 mail.example.com ESMTP\r\n") as url:
        assert "does not speak HTTP" in gave_up(client(url), seconds=0).cause


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_server_of_another_kind_is_told_at_once(status: int) -> None:
    clock = FakeClock()
    with Loopback(Service(token_status=status)) as server, pytest.raises(ImdsError) as caught:
        client(server.url).wait(clock.deadline())

    assert clock.sleeps == []
    assert "is not EC2's metadata service" in caught.value.cause


def test_a_page_in_place_of_a_token_is_not_sent_back_as_one() -> None:
    with (
        Loopback(lambda _: Reply(body=b"<html>\r\nlog in</html>")) as server,
        pytest.raises(ImdsError, match="no token"),
    ):
        client(server.url).wait(soon())


def test_a_token_that_is_refused_again_and_again_ends_with_the_deadline() -> None:
    with Loopback(Service(refuse=10**6)) as server:
        error = gave_up(client(server.url), lambda imds, deadline: imds.get("meta-data/instance-id", deadline))

    assert "refused (401), a new one too" in error.cause


def test_a_service_that_fails_is_told_with_its_status() -> None:
    with Loopback(Service(token_status=503)) as server:
        error = gave_up(client(server.url))

    assert "HTTP 503 to the token request" in error.cause
    assert "the service itself fails" in error.next_step


def test_a_network_without_a_route_is_told() -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this host does not let tests have a network of their own")
    code = """
        from agent.aws.imds import Imds
        from agent.errors import ImdsError
        from agent.host.clock import Deadline, SystemClock

        try:
            Imds({}).wait(Deadline.after(SystemClock(), 0))
        except ImdsError as error:
            print(error)
    """
    # A network that has nothing, not even a loopback interface: the real addresses lead nowhere.
    done = subprocess.run(
        [*alone, *children.command(code)],
        cwd=children.PROJECT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "http://169.254.169.254 and http://[fd00:ec2::254]" in done.stdout
    assert "there is no route to it" in done.stdout


def test_of_two_failures_the_one_that_says_more_is_told() -> None:
    with Loopback(Service(token_status=500)) as failing, Loopback(Service(token_status=403)) as disabled:
        assert "HTTP 500" in gave_up(Racing((refusing_address(), failing.url))).cause
        assert "403" in gave_up(Racing((failing.url, disabled.url))).cause


def test_a_service_that_is_turned_off_at_its_second_address_is_waited_for_at_its_first() -> None:
    service = Service(token_status=503)

    class Mending(FakeClock):
        """The first address works after the first wait."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            service.token_status = 200

    with Loopback(service) as server, Loopback(Service(token_status=403)) as disabled:
        Racing((server.url, disabled.url)).wait(Mending().deadline())

    assert service.tokens == 1


# --- the endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://127.0.0.1:0",
        "http://[::1",
        "http://",
        "169.254.169.254",
        "https://127.0.0.1",
        "file:///etc/passwd",
        "http://c4naryV4lue@127.0.0.1",
        "http://127.0.0.1/?c4naryV4lue",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y",
    ],
)
def test_an_endpoint_that_cannot_be_one_is_a_fault_of_the_configuration(endpoint: str) -> None:
    with pytest.raises(BootstrapError) as caught:
        client(endpoint)

    assert caught.value.exit_status == 78
    assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" in caught.value.doing
    assert "c4naryV4lue" not in f"{caught.value} {caught.value.next_step}"


def test_an_endpoint_may_have_a_path() -> None:
    service = Service()
    with Loopback(
        lambda request: service(Request(request.method, request.path.removeprefix("/imds"), request.headers, b""))
    ) as server:
        assert client(f"{server.url}/imds/").get("meta-data/instance-id", soon()) == "i-0123456789abcdef0"


# --- role and keys


def test_a_profile_without_a_role_is_told_by_its_name() -> None:
    info = {"Code": "InstanceProfileNotFound", "InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/api"}
    with Loopback(Service({"meta-data/iam/info": json.dumps(info)})) as server:
        error = gave_up(client(server.url), imds_role.role)

    assert "instance-profile/api is attached, and it gives no role (code 'InstanceProfileNotFound')" in error.cause


def test_a_listing_that_is_no_role_is_not_asked_for() -> None:
    with Loopback(Service({ROLE: "../../user-data"})) as server:
        assert "no role's name" in gave_up(client(server.url), imds_role.role).cause

    assert all("user-data" not in request.path for request in server.requests)


@pytest.mark.parametrize("field", ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"])
def test_keys_that_lack_a_field_are_told_with_its_name(field: str) -> None:
    document = json.dumps({**CREDENTIALS, field: None})
    with Loopback(Service({f"{ROLE}api-role": document})) as server:
        error = gave_up(client(server.url), lambda imds, deadline: imds_role.keys(imds, "api-role", deadline))

    assert error.cause == f"the answer is incomplete: {field}"


def test_a_clock_that_is_wrong_is_told_with_how_much() -> None:
    # The loopback server writes the real time on its answers; the fake clock is years away from it.
    tree = {**TREE, f"{ROLE}api-role": json.dumps({**CREDENTIALS, "Expiration": "2001-01-02T09:00:00Z"})}
    with Loopback(Service(tree)) as server:
        imds = client(server.url)
        error = gave_up(imds, lambda imds, deadline: imds_role.keys(imds, "api-role", deadline))

    assert imds.ahead is not None
    assert f"it is {imds_role.skew(imds)}" in error.cause
    assert imds_role.skew(imds).endswith(" min behind the metadata service's")


def test_keys_that_were_made_in_the_future_tell_a_slow_clock_where_no_answer_has_a_time() -> None:
    imds = client("http://127.0.0.1:1")

    assert imds_role.skew(imds) == ""
    imds.ahead = dt.timedelta(minutes=-12)
    assert imds_role.skew(imds) == "12 min behind the metadata service's"
    imds.ahead = dt.timedelta(hours=3, minutes=2)
    assert imds_role.skew(imds) == "3 h 2 min ahead of the metadata service's"
    imds.ahead = dt.timedelta(seconds=30)
    assert imds_role.skew(imds) == ""


# --- facts


def test_the_identity_document_gives_most_with_one_request() -> None:
    document = {"instanceId": "i-0abc", "accountId": "123456789012", "region": "eu-west-1", "privateIp": 7}
    with Loopback(Service({"dynamic/instance-identity/document": json.dumps(document)})) as server:
        found = imds_facts.instance(client(server.url), soon())

    assert (found.instance_id, found.account, found.region, found.private_ip) == (
        "i-0abc",
        "123456789012",
        "eu-west-1",
        "",
    )
    assert len(server.requests) == 2


def test_tags_are_read_only_where_they_are_given_to_the_instance_and_only_the_wanted_ones() -> None:
    tags = "meta-data/tags/instance"
    tree = {f"{tags}/": "Name\ndelphi:ECR_TAG", f"{tags}/Name": "api-1", f"{tags}/delphi:ECR_TAG": "1.4.2"}
    with Loopback(Service(tree)) as server:
        assert imds_facts.tags(client(server.url), soon(), "delphi:") == {"delphi:ECR_TAG": "1.4.2"}
        assert len(server.requests) == 3
    with Loopback(Service()) as server:
        assert imds_facts.tags(client(server.url), soon()) is None


def test_what_an_instance_is_not_is_none() -> None:
    with Loopback(Service()) as server:
        assert imds_facts.lifecycle_state(client(server.url), soon()) is None
        assert imds_facts.user_data(client(server.url), soon()) is None
