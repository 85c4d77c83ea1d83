"""The bench's own AWS: what it answers, what it refuses, and how it serves that over TLS."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.answers import Answers
from tests.bench.asked import Answer, Asked, error
from tests.bench.standin import Standin, server_context
from tests.bench.worlds import Changes, Spec, World, build, changing_file
from tests.lab.aws_model import BUCKET, REGION
from tests.lab.machine import Machine
from tests.lab.pki import Pki
from tests.lab.world import NAMESPACE, PREFIX, REF, ROLE

HOST = f"{BUCKET}.s3.{REGION}.amazonaws.com"
SPEC = Spec(name="tests", files=2_100, total=50_000, parameters=21, secrets=3, services=2)
FILE = f"{PREFIX}/{REF}/{changing_file()}"


@pytest.fixture(scope="module")
def world() -> World:
    return build(SPEC)


@pytest.fixture
def answers(world: World) -> Answers:
    return Answers(world)


def get(target: str, **more: str) -> Asked:
    return Asked(more.pop("method", "GET"), HOST, target, **more)  # type: ignore[arg-type]  # all of them are text


def call(target: str, **request: object) -> Asked:
    return Asked("POST", "aws", "/", json.dumps(request).encode(), target)


def document(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(answer.body))
    return found


def test_a_world_of_the_same_numbers_is_the_same_and_a_change_changes_one_thing(world: World) -> None:
    again, changed = build(SPEC), build(SPEC, Changes(file=1, parameter=1))

    assert again.items == world.items
    assert {key for key in world.items if changed.items[key] != world.items[key]} == {FILE}
    assert len(changed.items[FILE].body) != len(world.items[FILE].body), "the AWS CLI sees no change of equal size"
    assert {name for name in world.parameters if changed.parameters[name] != world.parameters[name]} == {
        f"/{NAMESPACE}/{ROLE}/P_0000"
    }


def test_a_listing_has_every_object_once_over_its_pages(world: World, answers: Answers) -> None:
    found: list[str] = []
    token = ""
    while True:
        text = bytes(answers.answer(get(f"/?list-type=2&prefix={PREFIX}/{token}")).body).decode()
        found += re.findall("<Key>(.*?)</Key>", text)
        if not (more := re.search("<NextContinuationToken>(.*)</NextContinuationToken>", text)):
            break
        token = f"&continuation-token={more[1]}"

    assert found == sorted(world.items)
    assert len(found) == 2_100


def test_a_listing_with_a_delimiter_shows_folders_once(answers: Answers) -> None:
    text = bytes(answers.answer(get(f"/?list-type=2&prefix={PREFIX}/{REF}/&delimiter=/")).body).decode()

    assert re.findall("<CommonPrefixes><Prefix>(.*?)</Prefix>", text) == [
        f"{PREFIX}/{REF}/api/",
        f"{PREFIX}/{REF}/common/",
    ]
    assert "<Contents>" not in text


def test_an_object_comes_with_its_md5_and_with_its_checksum_when_asked(world: World, answers: Answers) -> None:
    answer = answers.answer(get(f"/{FILE}", checksum_mode="ENABLED"))
    body = bytes(answer.body)

    assert body == world.items[FILE].body
    headers = dict(answer.headers)
    assert headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert base64.b64decode(headers["x-amz-checksum-crc32"]) == zlib.crc32(body).to_bytes(4, "big")
    assert "x-amz-checksum-crc32" not in dict(answers.answer(get(f"/{FILE}")).headers)


def test_a_large_object_has_the_etag_of_an_upload_in_parts() -> None:
    item = build(Spec(name="large one", files=3, big=20 << 20)).items[f"{PREFIX}/{REF}/{ROLE}/data/big.bin"]

    assert item.etag.endswith("-3")
    assert item.checksum.endswith("-3")


def test_ranges_conditions_and_heads_are_as_s3_has_them(world: World, answers: Answers) -> None:
    body, etag = world.items[FILE].body, world.items[FILE].etag

    part = answers.answer(get(f"/{FILE}", range="bytes=2-5"))
    assert (part.status, bytes(part.body)) == (206, body[2:6])
    assert dict(part.headers)["Content-Range"] == f"bytes 2-5/{len(body)}"
    assert bytes(answers.answer(get(f"/{FILE}", range="bytes=3-")).body) == body[3:]
    assert answers.answer(get(f"/{FILE}", if_match=f'"{etag}"')).status == 200
    assert answers.answer(get(f"/{FILE}", if_match='"other"')).status == 412
    assert answers.answer(get("/nowhere")).status == 404
    head = answers.answer(get(f"/{FILE}", method="HEAD"))
    assert (head.operation, head.body, head.length) == ("s3:HeadObject", b"", len(body))


def test_parameters_come_ten_a_page_and_ten_by_name(world: World, answers: Answers) -> None:
    found: list[str] = []
    token: dict[str, object] = {}
    while True:
        page = document(answers.answer(call("AmazonSSM.GetParametersByPath", Path=f"/{NAMESPACE}/{ROLE}", **token)))
        assert len(page["Parameters"]) <= 10
        found += [item["Name"] for item in page["Parameters"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}

    assert found == sorted(world.parameters)
    named = document(answers.answer(call("AmazonSSM.GetParameters", Names=[*found[:2], "/other"])))
    assert named["InvalidParameters"] == ["/other"]
    assert answers.answer(call("AmazonSSM.GetParameters", Names=found[:11])).status == 400


def test_secrets_are_listed_by_prefix_and_given_by_name_and_arn(world: World, answers: Answers) -> None:
    filters = [{"Key": "name", "Values": [f"{NAMESPACE}/{ROLE}/"]}]
    listed = document(answers.answer(call("secretsmanager.ListSecrets", Filters=filters)))["SecretList"]
    assert [item["Name"] for item in listed] == sorted(n for n in world.secrets if n.startswith(NAMESPACE))
    ids = [item["ARN"] for item in listed]

    batch = document(answers.answer(call("secretsmanager.BatchGetSecretValue", SecretIdList=[*ids, "gone"])))
    one = document(answers.answer(call("secretsmanager.GetSecretValue", SecretId=ids[0])))

    assert [item["ARN"] for item in batch["SecretValues"]] == ids
    assert [item["ErrorCode"] for item in batch["Errors"]] == ["ResourceNotFoundException"]
    assert one["SecretString"] == world.secrets[str(one["Name"])]
    assert answers.answer(call("secretsmanager.GetSecretValue", SecretId="gone")).status == 400


@pytest.mark.parametrize(
    "asked",
    [
        get("/?acl"),
        get(f"/{FILE}?versionId=1"),
        get(f"/{FILE}", method="PUT"),
        Asked("GET", f"other-bucket.s3.{REGION}.amazonaws.com", "/x"),
        call("AmazonSSM.DescribeParameters"),
        Asked("POST", f"kms.{REGION}.amazonaws.com", "/"),
    ],
)
def test_what_it_does_not_know_is_refused_by_name(answers: Answers, asked: Asked) -> None:
    answer = answers.answer(asked)

    assert (answer.operation, answer.status) == ("refused", 501)
    assert f"{asked.method} {asked.host}{asked.target}".encode() in bytes(answer.body)


class Served:
    """A stand-in in a thread, on a loopback port; "ssm:GetParameters" is throttled by a hook."""

    def __init__(self, answers: Answers, context: ssl.SSLContext) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.standin = Standin(answers, listener, context, self._hook)
        self._wake, waker = socket.socketpair()
        self.standin.watch(waker.fileno(), self.standin.stop)
        self._thread = threading.Thread(target=self._serve, args=(listener, waker))
        self._thread.start()

    def _serve(self, listener: socket.socket, waker: socket.socket) -> None:
        with listener, waker:
            self.standin.serve()

    def _hook(self, asked: Asked, operation: str) -> Answer | None:
        return error(operation, "ThrottlingException") if operation == "ssm:GetParameters" else None

    def stop(self) -> None:
        self._wake.send(b"x")
        self._thread.join(10)
        self._wake.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    pki = Pki(Machine())
    (tmp_path / "crt").write_text(pki._server)
    (tmp_path / "key").write_text(pki._key)
    context = server_context(str(tmp_path / "crt"), str(tmp_path / "key"))
    running = Served(Answers(build(Spec(name="served", files=4, big=3 << 20))), context)
    yield running
    running.stop()


def connect(served: Served) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", served.port, context=context, timeout=10)


def fetch(connection: http.client.HTTPSConnection, target: str) -> bytes:
    connection.request("GET", target, headers={"Host": HOST})
    return connection.getresponse().read()


def test_it_serves_large_and_small_over_one_connection_and_counts_both(served: Served) -> None:
    connection = connect(served)
    items = served.standin.answers._world.items
    big = f"{PREFIX}/{REF}/{ROLE}/data/big.bin"

    assert fetch(connection, f"/{big}") == items[big].body
    assert fetch(connection, f"/{FILE}") == items[FILE].body

    connection.close()
    assert served.standin.calls == {"s3:GetObject": 2}
    assert served.standin.connections == 1
    assert served.standin.sent == len(items[big].body) + len(items[FILE].body)


def test_a_hook_may_answer_in_its_place(served: Served) -> None:
    connection = connect(served)
    headers = {"X-Amz-Target": "AmazonSSM.GetParameters"}

    connection.request("POST", "/", json.dumps({"Names": ["/a"]}), headers)
    answer = connection.getresponse()

    assert answer.status == 400
    assert json.loads(answer.read())["__type"] == "ThrottlingException"
    connection.close()


def test_who_breaks_off_disturbs_nobody_else(served: Served) -> None:
    rude, polite = connect(served), connect(served)
    rude.request("GET", f"/{PREFIX}/{REF}/{ROLE}/data/big.bin", headers={"Host": HOST})
    rude.close()
    with socket.create_connection(("127.0.0.1", served.port)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")

        assert fetch(polite, f"/{FILE}") != b""

    polite.close()
