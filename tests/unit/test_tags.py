"""What tags name in the registry: one question each, and nothing that goes wrong is more than not knowing."""

from __future__ import annotations

import base64
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.aws.ecr import Login
from agent.aws.tags import Tags
from agent.host.clock import Deadline, SystemClock
from agent.host.proxy import Proxies
from agent.report.record import Recorder
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import HEAD, FakeClock
from tests.unit.identity import make_identity

PASSWORD = "CANARY-registry-password"
DIGESTS = {name: f"sha256:{number:064x}" for number, name in enumerate(["app", "side", "jobs/nightly", "four", "five"])}


class Registry:
    """Has the tag `1` of every repository of `DIGESTS`; `broken` are the answers of some. `asked` counts paths."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.broken: dict[str, Reply] = {}

    def __call__(self, request: Request) -> Reply:
        assert request.method == "HEAD"
        pair = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
        assert request.headers["authorization"] == f"Basic {pair}"
        assert "application/vnd.oci.image.index.v1+json" in request.headers["accept"]
        self.asked[request.path] += 1
        name = request.path.removeprefix("/v2/").removesuffix("/manifests/1")
        return self.broken.get(name) or Reply(200, b"", {"Docker-Content-Digest": DIGESTS[name]})


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_identity(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def host(registry: Registry, identity: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    with Loopback(registry, tls=context) as server:
        yield server.url.removeprefix("https://").replace("127.0.0.1", "localhost")


@pytest.fixture
def tags(host: str, identity: Path) -> Callable[..., Tags]:
    def make(*, trusted: bool = True, proxies: Proxies | None = None) -> Tags:
        trust = ssl.create_default_context(cafile=identity) if trusted else ssl.create_default_context()
        return Tags(Login(host, "AWS", Secret(PASSWORD)), trust, proxies or Proxies())

    return make


def deadline() -> Deadline:
    return Deadline.after(SystemClock(), 20)


def test_every_tag_is_asked_for_once_however_often_it_is_wanted(
    tags: Callable[..., Tags], host: str, registry: Registry
) -> None:
    asking, names = tags(), [f"{host}/{name}:1" for name in DIGESTS]

    first = asking.digests(names[:3], deadline())
    every = asking.digests(names, deadline())

    assert first == {f"{host}/{name}:1": DIGESTS[name] for name in list(DIGESTS)[:3]}
    assert every == {f"{host}/{name}:1": digest for name, digest in DIGESTS.items()}
    assert set(registry.asked.values()) == {1}


def test_what_is_forgotten_is_asked_again(tags: Callable[..., Tags], host: str, registry: Registry) -> None:
    asking, name = tags(), f"{host}/app:1"
    asking.digests([name], deadline())
    registry.broken["app"] = Reply(200, b"", {"Docker-Content-Digest": DIGESTS["side"]})

    asking.forget()

    assert asking.digests([name], deadline()) == {name: DIGESTS["side"]}


def test_what_is_elsewhere_or_pinned_is_left_to_a_pull(
    tags: Callable[..., Tags], host: str, registry: Registry
) -> None:
    names = ["otel/collector:1", "localhost/app:1", f"{host}/app@{DIGESTS['app']}", f"{host}0/app:1"]

    assert tags().digests(names, deadline()) == {}
    assert not registry.asked


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401),
        Reply(404),
        Reply(429),
        Reply(500),
        Reply(307, b"", {"Location": "/v2/side/manifests/1"}),
        Reply(200),
        Reply(200, b"", {"Docker-Content-Digest": "sha256:short"}),
    ],
    ids=["refused", "gone", "quota", "broken", "elsewhere", "no digest", "half a digest"],
)
def test_any_other_answer_is_no_answer_and_no_failure(
    tags: Callable[..., Tags], host: str, registry: Registry, reply: Reply
) -> None:
    registry.broken["app"] = reply
    asking = tags()

    found = asking.digests([f"{host}/app:1", f"{host}/side:1"], deadline())

    assert found == {f"{host}/side:1": DIGESTS["side"]}
    assert asking.digests([f"{host}/app:1"], deadline()) == {}
    assert registry.asked["/v2/app/manifests/1"] == 1


def test_a_registry_that_cannot_be_trusted_is_sent_no_password(
    tags: Callable[..., Tags], host: str, registry: Registry
) -> None:
    assert tags(trusted=False).digests([f"{host}/app:1"], deadline()) == {}
    assert not registry.asked


def test_one_behind_a_proxy_is_left_to_the_engine() -> None:
    proxies = Proxies(https=Secret("http://192.0.2.1:3128"))
    # `.test` is no loopback name, which is never proxied.
    asking = Tags(Login("registry.test", "AWS", Secret(PASSWORD)), ssl.create_default_context(), proxies)
    recorder = Recorder(HEAD, FakeClock(), [])

    with recorder.step("registry", "x") as step:
        assert asking.digests(["registry.test/app:1"], deadline()) == {}
    assert step.costs.calls == 0


def test_without_a_trust_to_share_nothing_is_asked(host: str, registry: Registry) -> None:
    asking = Tags(Login(host, "AWS", Secret(PASSWORD)), None, Proxies())

    assert asking.digests([f"{host}/app:1"], deadline()) == {}
    assert not registry.asked


def test_each_question_is_counted_and_in_the_timeline(tags: Callable[..., Tags], host: str, registry: Registry) -> None:
    registry.broken["app"] = Reply(503)
    recorder = Recorder(HEAD, FakeClock(), [])

    with recorder.step("registry", "x") as step:
        tags().digests([f"{host}/app:1", f"{host}/side:1"], deadline())

    spans = [span for span in recorder.spans.document(str) if span["name"] == "ecr:HeadManifest"]
    assert sorted(str(span["error"]) for span in spans) == ["HTTP 503", "None"]
    assert step.costs.calls == 2
    assert PASSWORD not in str(recorder.spans.document(str))
