"""The system's authorities, looked for in its folder where that holds the same ones as its file."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import SSLError

from agent.aws.connections import Connections
from agent.aws.ecr import Login
from agent.aws.tags import Tags
from agent.aws.trust import Authorities
from agent.host.clock import Deadline, SystemClock
from agent.host.proxy import Proxies
from agent.secret import Secret
from tests.lab.loopback import Loopback, Reply
from tests.unit.identity import make_identity

DIGEST = f"sha256:{0:064x}"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return make_identity(tmp_path)


@pytest.fixture
def folder(tmp_path: Path, identity: Path) -> Path:
    """As `update-ca-certificates` makes it: a certificate, and a link to it by the hash of its name."""
    made = tmp_path / "certs"
    made.mkdir()
    shutil.copy(identity, made / "authority.pem")
    asked = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(identity)]
    name = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    (made / f"{name}.0").symlink_to("authority.pem")
    return made


def loaded(path: Path, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    Authorities(str(path), {str(path): str(folder)}).load(context)
    return context


def trusts(context: ssl.SSLContext, identity: Path) -> bool:
    """Whether a server with this identity is spoken to."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(identity)
    with Loopback(lambda _: Reply(200, b"", {"Docker-Content-Digest": DIGEST}), tls=server_side) as server:
        host = server.url.removeprefix("https://").replace("127.0.0.1", "localhost")
        asked = Tags(Login(host, "AWS", Secret("x")), context, Proxies())
        return bool(asked.digests([f"{host}/app:1"], Deadline.after(SystemClock(), 20)))


def test_a_folder_with_the_same_authorities_is_looked_into_and_nothing_is_parsed(identity: Path, folder: Path) -> None:
    context = loaded(identity, folder)

    assert context.cert_store_stats()["x509"] == 0
    assert trusts(context, identity)


def test_an_authority_that_is_in_the_file_alone_counts(identity: Path, folder: Path, tmp_path: Path) -> None:
    another = tmp_path / "another"
    another.mkdir()
    own = make_identity(another)
    both = tmp_path / "both.pem"
    both.write_bytes(identity.read_bytes() + own.read_bytes())

    context = loaded(both, folder)

    assert context.cert_store_stats()["x509"] > 0
    assert trusts(context, own)


@pytest.mark.parametrize("spoil", ["no folder", "a link to nothing"])
def test_a_folder_that_is_not_whole_is_not_relied_on(identity: Path, folder: Path, spoil: str) -> None:
    if spoil == "no folder":
        shutil.rmtree(folder)
    else:
        (folder / "authority.pem").unlink()

    assert trusts(loaded(identity, folder), identity)


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_a_file_that_is_none_is_told(tmp_path: Path, content: bytes | None) -> None:
    path, empty = tmp_path / "bundle.crt", tmp_path / "certs"
    empty.mkdir()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(OSError, match=r"No such file|NO_CERTIFICATE|no certificate|NO_START_LINE"):
        loaded(path, empty)


def test_a_folder_that_was_not_made_anew_is_no_verdict(identity: Path, folder: Path, tmp_path: Path) -> None:
    """The file has the authority of today, and the folder another one under the name of a former one's."""
    another = tmp_path / "another"
    another.mkdir()
    shutil.copy(make_identity(another), folder / "authority.pem")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(identity)
    authorities = Authorities(str(identity), {str(identity): str(folder)})
    connections = Connections(authorities, Proxies(), Config(connect_timeout=5, read_timeout=5))
    assert connections.trust is not None
    assert connections.trust.cert_store_stats()["x509"] == 0

    with Loopback(lambda _: Reply(200, b"here"), tls=server_side) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        request = AWSRequest("GET", url).prepare()
        assert connections.send(request).content == b"here"
    assert connections.trust.cert_store_stats()["x509"] > 0


def test_a_server_that_no_authority_vouches_for_is_refused(identity: Path, folder: Path, tmp_path: Path) -> None:
    another = tmp_path / "another"
    another.mkdir()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(make_identity(another))
    authorities = Authorities(str(identity), {str(identity): str(folder)})
    connections = Connections(authorities, Proxies(), Config(connect_timeout=5, read_timeout=5))

    with Loopback(lambda _: Reply(200, b"here"), tls=server_side) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        request = AWSRequest("GET", url).prepare()
        for _ in range(2):
            with pytest.raises(SSLError, match="certificate verify failed"):
                connections.send(request)
