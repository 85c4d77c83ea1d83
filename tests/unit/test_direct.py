"""Objects read past the SDK: signed as botocore signs, only where all goes well, and never checked less."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import socket
import ssl
import string
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

import botocore.session
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as Held
from hypothesis import given
from hypothesis import strategies as st

from agent.aws.credentials import Credentials, Keys
from agent.aws.direct import DirectReads
from agent.aws.s3 import BundleMoved, ConfigBucket, RemoteObject
from agent.aws.session import AwsSession
from agent.aws.sigv4 import SigningKeys, quoted, signed
from agent.errors import BundleError
from agent.host.proxy import Proxies
from agent.report.record import Recorder
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import HEAD, FakeClock
from tests.unit.identity import make_identity

NAME = "delphi-config"
CONTENT = bytes(range(256)) * 3000
KEY = "deployments/acme/main/api/a b+c~\u00e4.bin"
SECRET = Secret("c4naryV4lue")


def etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


ITEM = RemoteObject(KEY, len(CONTENT), etag(CONTENT))


@given(
    key=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    token=st.none() | st.text(alphabet=string.ascii_letters + string.digits + "/+=", min_size=1),
)
def test_a_request_is_signed_as_botocore_signs_it(key: str, token: str | None) -> None:
    host, path = f"{NAME}.s3.eu-central-1.amazonaws.com", f"/{quoted(key)}"
    headers = {"host": host, "if-match": f'"{etag(key.encode())}"', "x-amz-checksum-mode": "ENABLED"}
    request = AWSRequest("GET", f"https://{host}{path}", headers=dict(headers))
    S3SigV4Auth(Held("AKIAEXAMPLE", SECRET.reveal(), token), "s3", "eu-central-1").add_auth(request)
    stamp = dt.datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")

    ours = signed(keys("eu-central-1", token), path, headers, stamp)

    assert ours["Authorization"] == request.headers["Authorization"]
    assert SECRET.reveal() not in str(ours)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_identity(tmp_path_factory.mktemp("tls"))


class Store:
    """A bucket with one object behind TLS; `first` are answers that come before, `seen` who asked for the object."""

    def __init__(self, *first: Reply, headers: dict[str, str] | None = None, content: bytes = CONTENT) -> None:
        self.first = list(first)
        self.seen: list[str] = []
        self._headers, self._content = {"ETag": f'"{ITEM.etag}"', **(headers or {})}, content

    def __call__(self, request: Request) -> Reply:
        if "list-type=2" in request.path:
            return Reply(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        assert request.path == f"/{NAME}/{quoted(KEY)}"
        assert request.headers["if-match"] == f'"{ITEM.etag}"'
        # The SDK alone numbers its attempts.
        self.seen.append("sdk" if "amz-sdk-invocation-id" in request.headers else "direct")
        return self.first.pop(0) if self.first else Reply(200, self._content, self._headers)


Reading = Callable[[Store], str]


@pytest.fixture
def reading(identity: Path, tmp_path: Path) -> Reading:
    """Lists the bucket, then downloads the object; returns its sha256."""
    credentials = Credentials(source="test", fetch=lambda: Keys(Secret("AKIAEXAMPLE"), SECRET))

    def read(store: Store) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity)
        with Loopback(store, tls=context) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            variables = {"AWS_ENDPOINT_URL": url, "AWS_CA_BUNDLE": str(identity)}
            session = AwsSession("eu-central-1", credentials, Proxies(), variables)
            bucket = ConfigBucket(session.s3(), NAME, session.direct_reads())
            assert list(bucket.listing("deployments/")) == []
            (tmp_path / "object").unlink(missing_ok=True)
            return bucket.download(ITEM, tmp_path / "object")

    return read


def test_an_object_is_read_with_one_request_past_the_sdk(reading: Reading, tmp_path: Path) -> None:
    store = Store()

    assert reading(store) == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "object").read_bytes() == CONTENT
    assert store.seen == ["direct"]


@pytest.mark.parametrize("status", [301, 403, 500, 503])
def test_any_other_answer_is_the_sdks_to_ask_for_again(reading: Reading, status: int) -> None:
    store = Store(Reply(status, b"<Error><Code>Whatever</Code></Error>"))

    assert reading(store) == hashlib.sha256(CONTENT).hexdigest()
    assert store.seen == ["direct", "sdk"]


@pytest.mark.parametrize(
    ("first", "ends"), [([], [None]), ([Reply(503)], ["HTTP 503", None])], ids=["one way", "both ways"]
)
def test_the_timeline_has_each_request_until_its_body_is_read(
    reading: Reading, first: list[Reply], ends: list[str | None]
) -> None:
    recorder = Recorder(HEAD, FakeClock(), [])
    with recorder.step("bundle", "x") as step:
        reading(Store(*first))

    spans = [span for span in recorder.spans.document(str) if span["name"] == "s3:GetObject"]
    assert [(span["error"], span["seconds"], span["step"]) for span in spans] == [(end, 0, "bundle") for end in ends]
    assert step.costs.received >= len(CONTENT)


def test_an_object_that_was_replaced_is_told_by_the_sdk(reading: Reading) -> None:
    gone = Reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")

    with pytest.raises(BundleMoved, match="replaced"):
        reading(Store(gone, gone))


def test_a_body_that_is_cut_off_is_fetched_again_by_the_sdk(reading: Reading) -> None:
    store = Store(Reply(200, CONTENT[:1000], {"ETag": f'"{ITEM.etag}"'}, length=len(CONTENT)))

    assert reading(store) == hashlib.sha256(CONTENT).hexdigest()
    assert store.seen == ["direct", "sdk"]


def test_a_content_that_is_not_its_md5_is_never_taken(reading: Reading) -> None:
    store = Store(content=CONTENT[:-1] + b"!")

    with pytest.raises(BundleError, match="does not match its ETag"):
        reading(store)
    assert store.seen == ["direct", "sdk", "sdk"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()},
        {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"other").digest()).decode()},
    ],
)
def test_the_objects_own_checksum_is_verified_where_the_etag_is_none(reading: Reading, headers: dict[str, str]) -> None:
    with pytest.raises(BundleError, match="checksum"):
        reading(Store(headers={"x-amz-server-side-encryption": "aws:kms", **headers}))


def learnt(reads: DirectReads, url: str, scope: str = "20261121/eu-central-1/s3/aws4_request") -> None:
    """As if the SDK had sent a listing to this address."""
    session = botocore.session.Session()
    session.set_credentials("AKIAEXAMPLE", "c4naryV4lue")
    client = session.create_client("s3", region_name="eu-central-1")
    reads.watch(client)
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/{scope}, SignedHeaders=host, Signature=0"}
    request = AWSPreparedRequest("GET", url, HTTPHeaders.from_dict(headers), b"", stream_output=False)
    client.meta.events.emit("before-send.s3.ListObjectsV2", request=request)


def keys(region: str, token: str | None = None) -> SigningKeys:
    held = Secret(token) if token else None
    return SigningKeys(region=region, access_key_id="AKIAEXAMPLE", secret_access_key=SECRET, session_token=held)


class Trap:
    """A listener on loopback that nobody may connect to."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0)
        self.port = self._listener.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def was_called(self) -> bool:
        try:
            self._listener.accept()
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize(
    ("scheme", "scope", "proxies"),
    [
        ("https", "20261121/eu-central-1/s3/aws4_request", Proxies(https=Secret("http://192.0.2.1:3128"))),
        ("http", "20261121/eu-central-1/s3/aws4_request", Proxies()),
        ("https", "20261121/eu-central-1/s3express/aws4_request", Proxies()),
    ],
    ids=["by a proxy", "without TLS", "signed in another way"],
)
def test_what_is_not_the_usual_case_is_the_sdks(scheme: str, scope: str, proxies: Proxies) -> None:
    # `.test` is no loopback name, which is never proxied, and resolves nowhere.
    reads = DirectReads(ssl.create_default_context(), keys, proxies, connecting=1, waiting=1)
    learnt(reads, f"{scheme}://s3.example.test/{NAME}?list-type=2", scope)

    assert reads.open(NAME, KEY, ITEM.etag) is None


def test_another_bucket_than_the_listed_one_is_the_sdks() -> None:
    reads = DirectReads(ssl.create_default_context(), keys, Proxies(), connecting=1, waiting=1)
    with Trap() as trap:
        learnt(reads, f"https://127.0.0.1:{trap.port}/{NAME}?list-type=2")

        assert reads.open("another", KEY, ITEM.etag) is None
        assert not trap.was_called()


def test_a_server_with_another_name_is_sent_nothing(identity: Path) -> None:
    context, store = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Store()
    context.load_cert_chain(identity)
    reads = DirectReads(ssl.create_default_context(cafile=identity), keys, Proxies(), connecting=5, waiting=5)
    with Loopback(store, tls=context) as server:
        learnt(reads, f"{server.url}/{NAME}?list-type=2")

        assert reads.open(NAME, KEY, ITEM.etag) is None
    assert server.requests == []


def test_a_context_that_does_not_look_at_names_is_not_used(identity: Path) -> None:
    context = ssl.create_default_context(cafile=identity)
    context.check_hostname = False
    with Trap() as trap:
        reads = DirectReads(context, keys, Proxies(), connecting=1, waiting=1)
        learnt(reads, f"https://127.0.0.1:{trap.port}/{NAME}?list-type=2")

        assert reads.open(NAME, KEY, ITEM.etag) is None
        assert not trap.was_called()


def test_connections_are_used_again(identity: Path) -> None:
    context, store = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Store()
    context.load_cert_chain(identity)
    reads = DirectReads(ssl.create_default_context(cafile=identity), keys, Proxies(), connecting=5, waiting=5)
    with Loopback(store, tls=context) as server:
        learnt(reads, f"{server.url.replace('127.0.0.1', 'localhost')}/{NAME}?list-type=2")
        for _ in range(3):
            opened = reads.open(NAME, KEY, ITEM.etag)
            assert opened is not None
            assert b"".join(opened.body) == CONTENT

    assert len(server.requests) == 3
    assert server.connections == 1


def test_an_idle_connection_that_the_server_has_closed_is_replaced(identity: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\nETag: "{ITEM.etag}"\r\n\r\n'.encode()
    reads = DirectReads(ssl.create_default_context(cafile=identity), keys, Proxies(), connecting=5, waiting=5)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    connection.recv(1 << 16)
                    connection.sendall(head + CONTENT)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        learnt(reads, f"https://localhost:{listener.getsockname()[1]}/{NAME}?list-type=2")
        for _ in range(2):
            opened = reads.open(NAME, KEY, ITEM.etag)
            assert opened is not None
            assert b"".join(opened.body) == CONTENT
        server.join(5)
