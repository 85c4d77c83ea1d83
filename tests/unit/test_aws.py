"""S3 and ECR through a real SDK session against a server on loopback: what is asked, checked, counted and told."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from urllib3.exceptions import SSLError

from agent.aws import ecr, trust
from agent.aws.credentials import Credentials, Keys
from agent.aws.ecr import region_of
from agent.aws.s3 import BODY_ATTEMPTS, BundleMoved, ConfigBucket, RemoteObject
from agent.aws.session import AwsSession
from agent.errors import AccessDenied, AgentError, AwsError, BootstrapError, BundleError
from agent.host.proxy import Proxies
from agent.report.record import Costs, Recorder
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit import children
from tests.unit.fakes import HEAD, FakeClock, refusing_address

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = Keys(Secret("AKIAEXAMPLE"), Secret("c4naryV4lue"))
CONTENT = b"service: api\n"
KEY = "deployments/acme/main/api/vars.yaml"


def etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


ITEM = RemoteObject(KEY, len(CONTENT), etag(CONTENT))


def session(
    url: str, *, proxies: Proxies | None = None, fetch: Callable[[], Keys] = lambda: KEYS, **more: str
) -> AwsSession:
    credentials = Credentials(source="test", fetch=fetch)
    return AwsSession("eu-central-1", credentials, proxies or Proxies(), {"AWS_ENDPOINT_URL": url, **more})


def bucket(url: str) -> ConfigBucket:
    return ConfigBucket(session(url).s3(), "delphi-config")


def xml_error(code: str, status: int, message: str = "no") -> Reply:
    return Reply(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


class Store:
    """Answers GETs of one object and listings, `page` keys at a time; `first` are replies that come before."""

    def __init__(self, *first: Reply, content: bytes = CONTENT, headers: dict[str, str] | None = None) -> None:
        self.first = list(first)
        self.keys: list[str] = []
        self.page = 1000
        self._content = content
        self._headers = {"ETag": f'"{etag(content)}"', **(headers or {})}

    def __call__(self, request: Request) -> Reply:
        assert request.method == "GET", "only GETs are needed"
        if self.first:
            return self.first.pop(0)
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if query.get("list-type") == "2":
            return self._listing(query)
        assert request.headers["if-match"] == f'"{ITEM.etag}"'
        return Reply(200, self._content, self._headers)

    def _listing(self, query: dict[str, str]) -> Reply:
        start = int(query.get("continuation-token", "0"))
        keys = sorted(key for key in self.keys if key.startswith(query["prefix"]))
        prefixes: list[str] = []
        if query.get("delimiter"):
            rests = [key.removeprefix(query["prefix"]) for key in keys]
            prefixes = sorted({f"{query['prefix']}{rest.partition('/')[0]}/" for rest in rests if "/" in rest})
            keys = [key for key, rest in zip(keys, rests, strict=True) if "/" not in rest]
        most = min(self.page, int(query.get("max-keys", "1000")))
        page, more = keys[start : start + most], start + most < len(keys)
        quoted = [(urllib.parse.quote(key), key) for key in page]
        contents = "".join(
            f'<Contents><Key>{name}</Key><Size>{len(key)}</Size><ETag>"{etag(key.encode())}"</ETag></Contents>'
            for name, key in quoted
        )
        common = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in prefixes)
        token = f"<NextContinuationToken>{start + most}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        body = (
            f"<ListBucketResult><EncodingType>url</EncodingType>{truncated}{token}{contents}{common}</ListBucketResult>"
        )
        return Reply(200, body.encode())


def read_error(store: Store, kind: type[AgentError]) -> AgentError:
    with Loopback(store) as server, pytest.raises(kind) as caught:
        bucket(server.url).read(ITEM)
    assert type(caught.value) is kind
    return caught.value


# --- objects


def test_an_object_is_read_with_one_request() -> None:
    with Loopback(Store()) as server:
        assert bucket(server.url).read(ITEM) == CONTENT

    assert [("GET", f"/delphi-config/{KEY}")] == [(item.method, item.path) for item in server.requests]


def test_an_object_is_written_to_a_new_file_with_its_digest(tmp_path: Path) -> None:
    with Loopback(Store()) as server:
        digest = bucket(server.url).download(ITEM, tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == CONTENT
    assert hashlib.sha256(CONTENT).hexdigest() == digest


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"other name of a live file")
    with Loopback(Store()) as server, pytest.raises(FileExistsError):
        bucket(server.url).download(ITEM, tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == b"other name of a live file"


def test_an_object_that_changed_since_the_listing_is_not_taken() -> None:
    error = read_error(Store(xml_error("PreconditionFailed", 412)), BundleMoved)

    assert "replaced after it had been listed (PreconditionFailed)" in error.cause
    assert "run it again when the upload is done" in error.next_step
    assert error.exit_status == 69


def test_an_object_that_is_gone_since_the_listing_is_told_as_that() -> None:
    error = read_error(Store(xml_error("NoSuchKey", 404)), BundleMoved)

    assert "removed after it had been listed" in error.cause


def test_content_that_is_not_what_its_etag_says_is_refused() -> None:
    error = read_error(Store(content=b"service: abi\n"), BundleError)

    assert "does not match its ETag" in error.cause
    assert error.exit_status == 65


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-server-side-encryption": "aws:kms"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ],
)
def test_an_etag_that_is_no_digest_of_the_content_is_not_held_against_it(headers: dict[str, str]) -> None:
    with Loopback(Store(content=b"service: abi\n", headers=headers)) as server:
        assert bucket(server.url).read(ITEM) == b"service: abi\n"


def test_an_etag_of_an_upload_in_parts_is_not_held_against_the_content() -> None:
    item = RemoteObject(KEY, len(CONTENT), f"{ITEM.etag}-2")
    with Loopback(lambda _: Reply(200, CONTENT)) as server:
        assert bucket(server.url).read(item) == CONTENT


def test_another_length_than_the_listing_says_is_refused() -> None:
    error = read_error(
        Store(content=b"service: api\nmore\n", headers={"x-amz-server-side-encryption": "aws:kms"}), AwsError
    )

    assert "18 bytes came, the listing says 13" in error.cause


def test_an_answer_that_breaks_off_is_told() -> None:
    broken = Reply(200, CONTENT[:5], {"ETag": f'"{ITEM.etag}"'}, length=len(CONTENT))
    error = read_error(Store(*[broken] * BODY_ATTEMPTS), AwsError)

    assert "broke off" in error.cause


def test_an_answer_that_breaks_off_once_is_fetched_again(tmp_path: Path) -> None:
    broken = Reply(200, CONTENT[:5], {"ETag": f'"{ITEM.etag}"'}, length=len(CONTENT))
    with Loopback(Store(broken)) as server:
        bucket(server.url).download(ITEM, tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_fault_of_tls_in_the_middle_of_a_body_is_asked_again(tmp_path: Path) -> None:
    """botocore lets urllib3's word for it pass as it is."""

    class Body:
        """Breaks in its middle."""

        def iter_chunks(self, _: int) -> Iterator[bytes]:
            yield CONTENT[:2]
            raise SSLError("decryption failed or bad record mac")

    class Client:
        """Gives the object, whose bodies all break."""

        asked = 0

        def get_object(self, **_: object) -> object:
            self.asked += 1
            return {"ResponseMetadata": {"HTTPHeaders": {}}, "Body": Body()}

    client = Client()

    with pytest.raises(AwsError, match="the connection broke: decryption failed"):
        ConfigBucket(cast("S3Client", client), "delphi-config").download(ITEM, tmp_path / "x")

    assert client.asked == BODY_ATTEMPTS
    assert not (tmp_path / "x").exists()


def test_a_checksum_that_does_not_match_is_refused() -> None:
    wrong = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    with Loopback(Store(headers={"x-amz-checksum-crc32": wrong})) as server, pytest.raises(AgentError) as caught:
        bucket(server.url).read(ITEM)

    assert caught.value.exit_status == 65


def test_a_refusal_names_action_and_object() -> None:
    error = read_error(Store(xml_error("AccessDenied", 403)), AccessDenied)

    assert "s3:GetObject" in str(error)
    assert "arn:aws:s3:::delphi-config/deployments/" in "\n".join(error.details)


@pytest.mark.slow
def test_a_failing_store_is_asked_again_by_the_sdk_and_every_try_is_counted() -> None:
    clock = FakeClock()
    store = Store(xml_error("SlowDown", 503), xml_error("InternalError", 500))
    with Loopback(store) as server, Recorder(HEAD, clock, []).step("bundle", "x") as step:
        assert bucket(server.url).read(ITEM) == CONTENT

    assert (step.costs.calls, step.costs.retries, step.costs.throttled) == (3, 2, 1)
    assert step.costs.received >= len(CONTENT)


def test_the_timeline_has_an_object_until_its_body_is_read() -> None:
    clock = FakeClock()
    recorder = Recorder(HEAD, clock, [])
    with Loopback(Store()) as server, recorder.step("bundle", "x"):
        made = bucket(server.url)
        pieces = made._by_the_sdk(ITEM, "reading it")
        read = next(pieces)
        assert recorder.spans.document(str)[0]["seconds"] is None
        clock.advance(3)
        read += b"".join(pieces)

    (span,) = recorder.spans.document(str)
    assert read == CONTENT
    assert (span["name"], span["seconds"], span["error"]) == ("s3:GetObject", 3, None)


# --- listings


def test_a_listing_has_every_page_in_the_order_of_keys() -> None:
    store = Store()
    store.keys, store.page = [f"p/{number:02}" for number in range(25)], 10
    with Loopback(store) as server:
        found = list(bucket(server.url).listing("p/"))

    assert store.keys == [item.key for item in found]
    assert (found[0].size, found[0].etag) == (4, etag(b"p/00"))
    assert len(server.requests) == 3


def test_a_listing_asks_for_a_page_only_when_it_is_wanted() -> None:
    store = Store()
    store.keys, store.page = [f"p/{number:02}" for number in range(25)], 10
    with Loopback(store) as server:
        listing = bucket(server.url).listing("p/")
        taken = [next(listing).key for _ in range(10)]

    assert taken == store.keys[:10]
    assert len(server.requests) == 1


def test_keys_with_any_character_are_listed_as_they_are() -> None:
    store = Store()
    store.keys = ["p/ä b", "p/a+b&c", "p/%41", "p/<x>", "p/\1\n\x7f", "p/\u2028", "p/🚀"]
    with Loopback(store) as server:
        assert sorted(store.keys) == [item.key for item in bucket(server.url).listing("p/")]


def test_folders_are_names_without_slashes_and_objects_beside_them_are_none() -> None:
    store = Store()
    store.keys = ["deployments/acme/x", "deployments/beta/y/z", "deployments/README"]
    with Loopback(store) as server:
        assert bucket(server.url).folders("deployments/") == ["acme", "beta"]


def test_whether_something_is_there_costs_one_small_request() -> None:
    store = Store()
    store.keys = ["p/a", "p/b"]
    with Loopback(store) as server:
        assert bucket(server.url).holds("p/")
        assert not bucket(server.url).holds("q/")

    assert all("max-keys=1" in request.path for request in server.requests)
    assert len(server.requests) == 2


def test_a_listing_that_is_refused_names_the_permission_and_the_bucket() -> None:
    with Loopback(Store(xml_error("AccessDenied", 403))) as server, pytest.raises(AccessDenied) as caught:
        list(bucket(server.url).listing("p/"))

    assert "s3:ListBucket" in str(caught.value)
    assert "arn:aws:s3:::delphi-config" in "\n".join(caught.value.details)


# --- the registry's login


def ecr_reply(token: str | None) -> Reply:
    data = [] if token is None else [{"authorizationToken": base64.b64encode(token.encode()).decode()}]
    return Reply(200, json.dumps({"authorizationData": data}).encode(), {"Content-Type": "application/x-amz-json-1.1"})


REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def test_a_login_is_user_and_password_and_shows_neither_in_its_repr() -> None:
    with Loopback(lambda _: ecr_reply("AWS:pass:with:colons")) as server:
        login = ecr.login(session(server.url).ecr("eu-west-1"), f"{REGISTRY}/delphi")

    assert (login.registry, login.user, login.password.reveal()) == (REGISTRY, "AWS", "pass:with:colons")
    assert "colons" not in repr(login)
    assert "/eu-west-1/ecr/" in server.requests[0].headers["authorization"]


def test_an_answer_without_a_token_is_told() -> None:
    with Loopback(lambda _: ecr_reply(None)) as server, pytest.raises(AgentError, match="no token") as caught:
        ecr.login(session(server.url).ecr("eu-west-1"), REGISTRY)

    assert caught.value.exit_status == 69


@pytest.mark.parametrize(
    ("registry", "region"),
    [
        (REGISTRY, "eu-west-1"),
        (f"{REGISTRY}/path", "eu-west-1"),
        (REGISTRY.upper(), "eu-west-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        ("registry.example.com", None),
        ("localhost:5000", None),
        (f"{REGISTRY}.evil.net", None),
        (f"evil.net/{REGISTRY}", None),
        ("public.ecr.aws", None),
    ],
)
def test_the_region_of_a_registry_is_in_its_name(registry: str, region: str | None) -> None:
    assert region == region_of(registry)


# --- the session


def test_a_client_is_made_once() -> None:
    made = session("http://127.0.0.1:1")

    assert made.s3() is made.s3()
    assert made.ecr("eu-west-1") is not made.ecr("eu-central-1")


def test_times_in_answers_stay_as_they_came() -> None:
    listed = b"<ListBucketResult><Contents><Key>a</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
    with Loopback(Store(Reply(200, listed + b"</ListBucketResult>"))) as server:
        (item,) = session(server.url).s3().list_objects_v2(Bucket="delphi-config")["Contents"]

    assert str(item["LastModified"]) == "2026-01-02T03:04:05.000Z"


def test_temporary_keys_sign_with_their_token() -> None:
    keys = Keys(Secret("ASIA1"), Secret("x"), Secret("t0ken"), "2999-01-01T00:00:00Z")
    with Loopback(Store()) as server:
        ConfigBucket(session(server.url, fetch=lambda: keys).s3(), "delphi-config").read(ITEM)

    assert server.requests[0].headers["x-amz-security-token"] == "t0ken"
    assert "ASIA1" in server.requests[0].headers["authorization"]


def test_keys_that_are_about_to_expire_are_fetched_again() -> None:
    old = Keys(Secret("ASIAOLD"), Secret("x"), Secret("t"), "2020-01-01T00:00:00Z")
    new = Keys(Secret("ASIANEW"), Secret("x"), Secret("t"), "2999-01-01T00:00:00Z")
    keys = [new, old]
    with Loopback(Store()) as server:
        ConfigBucket(session(server.url, fetch=keys.pop).s3(), "delphi-config").read(ITEM)

    assert "ASIANEW" in server.requests[0].headers["authorization"]


def test_a_service_may_have_an_endpoint_of_its_own() -> None:
    with Loopback(Store()) as own, Loopback(Store()) as other:
        made = session(other.url, AWS_ENDPOINT_URL_S3=own.url)
        ConfigBucket(made.s3(), "delphi-config").read(ITEM)

    assert (len(own.requests), len(other.requests)) == (1, 0)


def test_the_proxy_of_the_bootstrap_file_is_used_with_its_rules_and_none_of_the_environment() -> None:
    variables = {"HTTP_PROXY": refusing_address(), "NO_PROXY": "127.0.0.3"}
    with Loopback(Store()) as server:
        made = session(server.url, proxies=Proxies.of({"HTTP_PROXY": server.url}), AWS_ENDPOINT_URL="http://s3.test")
        ConfigBucket(made.s3(), "delphi-config").read(ITEM)
        session(server.url, proxies=Proxies.of(variables)).s3().list_objects_v2(Bucket="b", Prefix="p/")

    assert [request.path.partition("?")[0] for request in server.requests] == [
        f"http://s3.test/delphi-config/{KEY}",
        "/b",
    ]


# Whether the bucket holds something, asked by a process of its own with the shell that it is given.
HOLDS = """
import sys
from agent.aws.s3 import ConfigBucket
from agent.aws.credentials import Credentials, Keys
from agent.aws.session import AwsSession
from agent.host.proxy import Proxies
from agent.secret import Secret

keys = Keys(Secret("AKIAEXAMPLE"), Secret("x"))
credentials = Credentials(source="test", fetch=lambda: keys)
session = AwsSession("eu-central-1", credentials, Proxies(), {"AWS_ENDPOINT_URL": sys.argv[1]})
print(ConfigBucket(session.s3(), "delphi-config").holds("p/"))
"""


def test_neither_proxies_nor_profiles_nor_keys_of_the_shell_count() -> None:
    dead = refusing_address()
    shell = {
        "HTTP_PROXY": dead,
        "http_proxy": dead,
        "HTTPS_PROXY": dead,
        "AWS_PROFILE": "no-such-profile",
        "AWS_ACCESS_KEY_ID": "AKIAOFTHESHELL",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with Loopback(Store()) as server:
        ended = children.python(HOLDS, env=shell, arguments=[server.url])

    assert ended.out == "False\n"
    assert "AKIAEXAMPLE" in server.requests[0].headers["authorization"]
    assert "/eu-central-1/s3/" in server.requests[0].headers["authorization"]


def test_the_operator_s_files_for_the_sdk_are_not_read(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("this is no setting\n")
    (tmp_path / "config").write_bytes(b"[default\n\xff")
    with Loopback(Store()) as server:
        at_home = children.python(HOLDS, env={"HOME": str(tmp_path)}, arguments=[server.url])
        named = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "config")}
        elsewhere = children.python(HOLDS, env=named, arguments=[server.url])

    assert (at_home.out, elsewhere.out) == ("False\n", "False\n")


def test_an_address_that_is_none_is_told_by_its_variable_where_nothing_has_looked_at_it_before() -> None:
    made = session("http://127.0.0.1:1", AWS_ENDPOINT_URL_SSM="c4nary:4566")

    made.s3()
    with pytest.raises(BootstrapError, match="AWS_ENDPOINT_URL_SSM must be an address such as") as caught:
        made.ssm()

    assert caught.value.exit_status == 78
    assert "c4nary" not in f"{caught.value}{caught.value.next_step}"


@pytest.mark.parametrize("region", ["<c4nary>", "c4nary_1", "c4nary 1"])
def test_a_region_that_is_none_makes_no_client_and_is_a_fault_of_the_settings(region: str) -> None:
    with pytest.raises(BootstrapError, match="preparing to ask the service secretsmanager: InvalidRegion") as caught:
        session("http://127.0.0.1:1").secrets_manager(region)

    assert caught.value.exit_status == 78
    assert "c4nary" not in f"{caught.value}{caught.value.next_step}"


def test_a_bucket_s_name_that_the_sdk_refuses_is_no_fault_of_the_network() -> None:
    with pytest.raises(BootstrapError, match="ParamValidationError"):
        ConfigBucket(session("http://127.0.0.1:1").s3(), "my,bucket").holds("p/")


def test_an_explicit_list_of_authorities_wins_over_the_one_of_the_system() -> None:
    assert trust.authorities({"AWS_CA_BUNDLE": "/a", "SSL_CERT_FILE": "/b"}) == "/a"
    assert trust.authorities({"SSL_CERT_FILE": "/b"}) == "/b"
    assert trust.authorities({}) in {None, *trust.SYSTEM_FILES}


def test_costs_are_only_counted_for_a_step() -> None:
    with Loopback(Store()) as server:
        bucket(server.url).read(ITEM)
    with Recorder(HEAD, FakeClock(), []).step("x", "x") as step:
        pass

    assert step.costs == Costs()
