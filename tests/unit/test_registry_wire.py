"""How `doctor` asks the registry: direct, by a proxy in plain text, by one in TLS; each with real connections."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError

from agent.aws.connections import Connections
from agent.aws.ecr import Login
from agent.aws.trust import Authorities
from agent.doctor import compose_files, registry, registry_wire
from agent.doctor.registry_wire import Answer
from agent.errors import RegistryError
from agent.host.clock import Deadline, SystemClock
from agent.host.proxy import Proxies
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import refusing_address, silent_server
from tests.unit.identity import make_identity
from tests.unit.test_doctor import facts_of
from tests.unit.test_doctor_images import with_bundle
from tests.unit.tls_proxy import TlsProxy

NAME = "registry.test"
PASSWORD = "geheim123"
PAIR = base64.b64encode(f"squid:{PASSWORD}".encode())
HANDSHAKE = b"\x16\x03"
DATE = "Sat, 28 Nov 2026 01:00:00 GMT"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the proxy and of the registry behind it."""
    return make_identity(tmp_path_factory.mktemp("tls"), "localhost", NAME)


def answer(request: Request) -> Reply:
    return Reply(200 if request.path.endswith("/1") else 404, headers={"Date": DATE})


@pytest.fixture
def server(identity: Path) -> Iterator[Loopback]:
    """The registry."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    with Loopback(answer, tls=context) as made:
        yield made


@pytest.fixture
def proxy(identity: Path, server: Loopback) -> Iterator[TlsProxy]:
    with TlsProxy(identity, port_of(server)) as made:
        yield made


def port_of(server: Loopback) -> int:
    return int(server.url.rpartition(":")[2])


def within(seconds: float = 10.0) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def asked(root: Path, host: str, **settings: str | None) -> Answer:
    facts = facts_of(root, None, **settings)
    return registry_wire.head(facts, host, "/v2/app/manifests/1", {"Authorization": "Basic x"}, within())


def test_a_proxy_that_is_spoken_to_in_tls_is_sent_its_password_inside_of_that(
    tmp_path: Path, identity: Path, server: Loopback, proxy: TlsProxy
) -> None:
    url = f"https://squid:{PASSWORD}@localhost:{proxy.port}"

    got = asked(tmp_path, f"{NAME}:{port_of(server)}", HTTPS_PROXY=url, AWS_CA_BUNDLE=str(identity))

    assert got.status == 200
    assert [first[:2] for first in proxy.first] == [HANDSHAKE], "nothing is sent in plain text"
    [connect] = proxy.asked
    assert connect.startswith(f"CONNECT {NAME}:{port_of(server)} ".encode())
    assert b"Proxy-Authorization: Basic " + PAIR in connect
    [request] = server.requests
    assert (request.method, request.path) == ("HEAD", "/v2/app/manifests/1")
    assert request.headers["authorization"] == "Basic x"
    assert "proxy-authorization" not in request.headers


def test_every_image_of_the_project_is_asked_for_by_such_a_proxy(
    tmp_path: Path, identity: Path, server: Loopback, proxy: TlsProxy
) -> None:
    host = f"{NAME}:{port_of(server)}"
    facts, _ = with_bundle(tmp_path, {"api/compose.yaml": f"services: {{a: {{image: '{host}/app:1'}}}}"})
    settings = facts_of(tmp_path / "other", HTTPS_PROXY=f"https://localhost:{proxy.port}", AWS_CA_BUNDLE=str(identity))
    facts.bootstrap = settings.bootstrap
    facts.login = Login(host, "AWS", Secret("token"))
    list(compose_files.read(facts))

    lines = list(registry.images(facts, within()))

    assert [(line.state, line.why) for line in lines] == [("ok", "1 image in the registry")]
    assert len(facts.skews) == 1, "its answer tells the time"


def test_a_proxy_in_tls_that_is_not_trusted_is_told_and_learns_nothing(
    tmp_path: Path, server: Loopback, proxy: TlsProxy
) -> None:
    url = f"https://squid:{PASSWORD}@localhost:{proxy.port}"
    stranger = make_identity(tmp_path, "elsewhere.test")

    with pytest.raises(RegistryError, match="TLS: self-signed certificate") as caught:
        asked(tmp_path, f"{NAME}:{port_of(server)}", HTTPS_PROXY=url, AWS_CA_BUNDLE=str(stranger))

    assert proxy.asked == []
    assert PASSWORD not in f"{caught.value} {caught.value.next_step}"


def test_a_registry_behind_it_that_is_not_the_one_asked_for_is_not_trusted(
    tmp_path: Path, identity: Path, proxy: TlsProxy
) -> None:
    settings = {"HTTPS_PROXY": f"https://localhost:{proxy.port}", "AWS_CA_BUNDLE": str(identity)}

    with pytest.raises(RegistryError, match="TLS: Hostname mismatch"):
        asked(tmp_path, "other.test", **settings)


def test_a_proxy_in_tls_out_of_reach_is_told_in_the_system_s_words(tmp_path: Path, identity: Path) -> None:
    address = refusing_address().removeprefix("http://")

    with pytest.raises(RegistryError, match=r"connecting to registry\.test: Connection refused"):
        asked(tmp_path, NAME, HTTPS_PROXY=f"https://{address}", AWS_CA_BUNDLE=str(identity))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_says_nothing_is_waited_for_as_long_as_there_is_time(
    tmp_path: Path, identity: Path, scheme: str
) -> None:
    with silent_server() as url:
        facts = facts_of(tmp_path, HTTPS_PROXY=url.replace("http", scheme), AWS_CA_BUNDLE=str(identity))
        began = time.monotonic()
        with pytest.raises(RegistryError, match="timed out"):
            registry_wire.head(facts, NAME, "/v2/", {}, within(0.3))

    assert time.monotonic() - began < 3


def test_a_registry_without_a_proxy_is_asked_itself(tmp_path: Path, identity: Path, server: Loopback) -> None:
    got = asked(tmp_path, f"localhost:{port_of(server)}", AWS_CA_BUNDLE=str(identity))

    assert (got.status, got.reason) == (200, "OK")
    assert got.date


def test_the_calls_to_aws_go_by_such_a_proxy_with_the_same_trust(
    identity: Path, server: Loopback, proxy: TlsProxy
) -> None:
    connections = made(proxy, Authorities(str(identity)))

    assert connections.send(get(server)).status_code == 200
    assert [first[:2] for first in proxy.first] == [HANDSHAKE]
    assert [b"Proxy-Authorization: Basic " + PAIR in connect for connect in proxy.asked] == [True]


def test_a_proxy_that_the_folder_of_authorities_does_not_have_is_asked_again_with_those_of_the_file(
    tmp_path: Path, identity: Path, server: Loopback, proxy: TlsProxy
) -> None:
    (tmp_path / "12345678.0").write_text("the link to another authority")
    connections = made(proxy, Authorities(str(identity), {str(identity): str(tmp_path)}))

    assert connections.send(get(server)).status_code == 200
    assert len(proxy.first) == 2


def test_a_proxy_that_no_authority_vouches_for_is_asked_nothing(
    tmp_path: Path, server: Loopback, proxy: TlsProxy
) -> None:
    connections = made(proxy, Authorities(str(make_identity(tmp_path, "elsewhere.test"))))

    with pytest.raises(ProxyConnectionError):
        connections.send(get(server))
    assert (len(proxy.first), proxy.asked) == (1, [])


def made(proxy: TlsProxy, trusted: Authorities) -> Connections:
    """What the calls of a run are made with."""
    proxies = Proxies.of({"HTTPS_PROXY": f"https://squid:{PASSWORD}@localhost:{proxy.port}"})
    return Connections(trusted, proxies, Config(connect_timeout=5, read_timeout=5))


def get(server: Loopback) -> AWSPreparedRequest:
    return AWSRequest("GET", f"https://{NAME}:{port_of(server)}/1").prepare()
