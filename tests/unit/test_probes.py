"""The checks that a bundle declares: asked again until they pass, and told with what was seen last when they do not."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.errors import DeployFailed
from agent.host.clock import Deadline, SystemClock
from agent.host.command import Command, Finished
from agent.secret import Redactor, Secret
from agent.steps import probes
from agent.steps.check import Check, Kind, is_address, is_url
from agent.steps.probe import Around, Fault, Probe
from tests.lab.loopback import Loopback, Reply
from tests.unit.fakes import FakeClock, FakeCommands, refusing_address, silent_server

ENV = {"PASSWORD": Secret("hunter2!")}


def around(commands: FakeCommands | None = None) -> Around:
    redactor = Redactor()
    redactor.learn(ENV.values())
    return Around(commands or FakeCommands(), Path("/opt/services/api"), ENV, redactor.clean)


def probe(target: str, kind: Kind = "http", *, within: float = 3, **more: object) -> Probe:
    check = Check(name="it answers", kind=kind, target="as written", within=within, **more)  # type: ignore[arg-type]  # each test knows its fields
    return Probe(check=check, target=Secret(target), within=within)


def run(*wanted: Probe, deadline: Deadline | None = None, told: Callable[[str], None] = lambda _: None) -> None:
    probes.run(wanted, around(), deadline or Deadline.after(SystemClock(), 20), told)


def failure(*wanted: Probe, deadline: Deadline | None = None) -> DeployFailed:
    with pytest.raises(DeployFailed) as caught:
        run(*wanted, deadline=deadline)
    return caught.value


@pytest.mark.parametrize(
    ("status", "accepted"),
    [
        (200, (range(200, 300),)),
        (204, (range(200, 300),)),
        (302, (range(302, 303),)),
        (503, (range(1), range(503, 504))),
    ],
)
def test_an_answer_with_a_status_that_is_asked_for_passes(status: int, accepted: tuple[range, ...]) -> None:
    with Loopback(lambda _: Reply(status)) as server:
        run(probe(f"{server.url}/health?a=b", status=accepted))

    assert [(request.method, request.path) for request in server.requests] == [("GET", "/health?a=b")]


def test_a_redirect_is_not_followed() -> None:
    with Loopback(lambda _: Reply(302, headers={"Location": "/else"})) as server:
        error = failure(probe(server.url, within=0.5))

    assert "it answers: answered 302 Found, within 0 s" in error.cause
    assert {request.path for request in server.requests} == {"/"}


def test_it_is_asked_again_until_it_passes() -> None:
    answers = [503, 503, 200]
    with Loopback(lambda _: Reply(answers.pop(0))) as server:
        run(probe(server.url))

    assert answers == []


def test_a_wrong_answer_is_told_with_the_beginning_of_its_body_and_without_any_secret() -> None:
    body = b"\n no database at postgres://u:hunter2!@db " + b"x" * 1000
    with Loopback(lambda _: Reply(500, body)) as server:
        error = failure(probe(server.url, within=0.5))

    assert error.exit_status == 76
    assert error.details[0] == "it answers (http as written): answered 500 Internal Server Error"
    assert error.details[1].startswith("  it begins: no database at postgres://u:[redacted]@db xxx")
    assert len(error.details[1]) < 400


def test_a_secret_that_is_cut_off_by_the_limit_is_not_told_in_part() -> None:
    with Loopback(lambda _: Reply(500, b"x" * 296 + b"hunter2!" * 3)) as server:
        error = failure(probe(server.url, within=0.5))

    assert "hunter" not in error.details[1]


def test_a_body_that_does_not_come_whole_is_not_told() -> None:
    with Loopback(lambda _: Reply(500, b"hunt", length=8)) as server:
        error = failure(probe(server.url, within=0.5))

    assert error.details[1] == "  its body did not come whole"


def test_a_body_that_never_ends_does_not_keep_the_check() -> None:
    with Loopback(lambda _: Reply(500, b"x" * 200_000)) as server:
        error = failure(probe(server.url, within=0.5))

    assert error.details[1] == f"  it begins: {'x' * 300}"


def test_a_refused_connection_is_told_in_the_system_s_word_and_without_the_address() -> None:
    address = refusing_address()
    error = failure(probe(address, within=0.5))

    assert error.cause == "it answers: Connection refused, within 0 s"
    assert address.removeprefix("http://") not in f"{error} {error.details}"


def test_a_server_that_never_answers_is_given_up() -> None:
    with silent_server() as address:
        error = failure(probe(address, within=0.6))

    assert "did not answer in time" in error.cause


def test_an_answer_that_is_no_http_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        error = failure(probe(f"http://127.0.0.1:{listener.getsockname()[1]}", within=0.1))

    assert "answered no valid HTTP (BadStatusLine)" in error.cause


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", refusing_address())
    with Loopback(lambda _: Reply(200)) as server:
        run(probe(server.url))


def test_an_ipv6_address_is_asked_at_its_port() -> None:
    with Loopback(lambda _: Reply(200), host="::1") as server:
        run(probe(server.url))

    assert server.requests[0].headers["host"] == server.url.removeprefix("http://")


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(hours=1))
    (folder / "pem").write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    return context


def test_https_trusts_only_what_the_system_trusts(tmp_path: Path) -> None:
    context = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        error = failure(probe(f"https://127.0.0.1:{listener.getsockname()[1]}", within=0.1))

    assert "it answers: its certificate is not trusted: self-signed certificate" in error.cause


def test_a_tcp_check_passes_when_the_connection_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        run(probe(f"127.0.0.1:{listener.getsockname()[1]}", "tcp"))


def test_a_tcp_check_that_is_refused_fails() -> None:
    error = failure(probe(refusing_address().removeprefix("http://"), "tcp", within=0.5))

    assert "Connection refused" in error.cause


# --- commands: with a clock that only moves when somebody sleeps


def command(commands: FakeCommands, within: float = 3) -> None:
    wanted = probe("", "command", within=within, argv=("./ready.sh", "--x"))
    probes.run([wanted], around(commands), FakeClock().deadline(), lambda _: None)


def test_a_command_runs_in_the_role_s_folder_with_the_resolved_environment() -> None:
    commands = FakeCommands()
    commands.expect("./ready.sh", "--x")
    command(commands)

    assert (commands.ran[0].cwd, commands.ran[0].env) == (Path("/opt/services/api"), ENV)


def test_a_command_is_run_again_until_it_ends_with_0() -> None:
    commands = FakeCommands()
    for status in (1, 7, 0):
        commands.expect("./ready.sh", "--x", status=status)
    command(commands)

    commands.assert_all_ran()


def test_a_command_that_fails_is_told_with_the_end_of_what_it_said() -> None:
    commands = FakeCommands()
    for _ in range(2):
        commands.expect("./ready.sh", "--x", status=3, err=b"first\nwrong password hunter2!\n")

    with pytest.raises(DeployFailed) as caught:
        command(commands, within=0.5)
    assert caught.value.cause == "it answers: ended with 3, within 0 s"
    assert caught.value.details == (
        "it answers (./ready.sh --x): ended with 3",
        "  first",
        "  wrong password [redacted]",
    )


def test_the_run_s_deadline_ends_a_check_that_had_more_time() -> None:
    with Loopback(lambda _: Reply(500)) as server:
        error = failure(probe(server.url, within=60), deadline=Deadline.after(SystemClock(), 0.6))

    assert "answered 500" in error.cause


class Hanging(FakeCommands):
    """A child that nothing ends."""

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        threading.Event().wait()
        raise AssertionError


def test_checks_that_hang_for_good_are_left_behind_and_told() -> None:
    checks = [Check(name=name, kind="command", argv=("x",)) for name in ("one", "two")]
    wanted = [Probe(check=check, target=Secret(""), within=60) for check in checks]

    with pytest.raises(DeployFailed, match="one: gave no answer, within 60 s; two: gave no answer") as caught:
        probes.run(wanted, around(Hanging()), Deadline.after(SystemClock(), 0.2), lambda _: None)
    assert caught.value.exit_status == 76


def test_all_that_failed_are_told_together_and_what_is_waited_for_is_shown() -> None:
    told: list[str] = []
    with Loopback(lambda request: Reply(200 if request.path == "/good" else 500)) as server:
        checks = {name: Check(name=name, kind="http", target=name) for name in ("good", "bad", "worse")}
        wanted = [
            Probe(check=check, target=Secret(f"{server.url}/{name}"), within=0.5) for name, check in checks.items()
        ]
        with pytest.raises(DeployFailed) as caught:
            run(*wanted, told=told.append)

    assert "bad: answered 500" in caught.value.cause
    assert "worse: answered 500" in caught.value.cause
    assert "good" not in caught.value.cause
    assert told[0] == "bad, good, worse"


def test_nothing_to_run_passes() -> None:
    run()


def test_a_fault_that_nothing_can_mend_is_told_without_a_time() -> None:
    error = probes._failure([(probe("x"), Fault("cannot be started: No such file or directory", final=True))])

    assert error.cause == "it answers: cannot be started: No such file or directory"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("http://127.0.0.1:3001/health", True),
        ("https://x", True),
        ("http://[::1]:80/", True),
        ("http://x:y/", False),
        ("http://x:0/", False),
        ("http://x:99999/", False),
        ("http://u:p@x/", False),
        ("http:///x", False),
        ("ftp://x/", False),
        ("x/y", False),
        ("http://x/a b", False),
        ("http://x/\n", False),
        ("http://x/ü", False),
        ("http://[x/", False),
    ],
)
def test_a_url_is_known_to_be_one(text: str, *, valid: bool) -> None:
    assert valid == is_url(text)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("127.0.0.1:5432", True),
        ("db.internal:1", True),
        ("[::1]:5432", True),
        ("::1:5432", False),
        ("x:0", False),
        ("x:65536", False),
        ("x", False),
        (":1", False),
        ("x:1/y", False),
        ("http://x:1", False),
    ],
)
def test_an_address_is_known_to_be_one(text: str, *, valid: bool) -> None:
    assert valid == is_address(text)
