"""The Media example as it ships: its certificate in the platform's three orders, and its data on a real mount."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab import images
from tests.lab.host import CHECKOUT
from tests.lab.lab import Lab
from tests.lab.world import NAMESPACE, TAG
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent
from tests.lab_tests.projects import ids

EXAMPLE = CHECKOUT / "packaging/examples/media"
TLS = "/opt/services/media/tls"
KEY = "-----BEGIN PRIVATE KEY-----\nCANARYmediaPrivateKey7pQ2\n-----END PRIVATE KEY-----\n"
CHAIN = "-----BEGIN CERTIFICATE-----\nof the platform\n-----END CERTIFICATE-----\n"


@pytest.fixture
def media(instance: Lab) -> Iterator[Lab]:
    """An instance with the role media, its image and its volume; it has not booted yet."""
    for path in EXAMPLE.rglob("*"):
        if path.is_file():
            instance.world.put_file(f"media/{path.relative_to(EXAMPLE)}", path.read_bytes())
    instance.registry.push(TAG, images.build(), repository="media")
    instance.world.write_bootstrap(instance.world.bootstrap_env(SERVER_ROLE="media", HOSTNAME="media-1"))
    instance.machine.run(["mkdir", "-p", "/mnt/media-data"], check=True)
    instance.machine.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt/media-data"], check=True)
    yield instance
    instance.machine.run(["umount", "--lazy", "/mnt/media-data"])


def give(lab: Lab, **values: str) -> None:
    for name, value in values.items():
        lab.world.put_parameter(f"/{NAMESPACE}/media/{name}", value)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def init(lab: Lab, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = lab.agent("init")
    assert done.returncode == code, done.stderr
    return done


def read(lab: Lab, name: str) -> str:
    return lab.machine.path(f"{TLS}/{name}").read_text()


def mode(lab: Lab, name: str) -> int:
    return lab.machine.path(f"{TLS}/{name}").stat().st_mode & 0o7777


def certificate(lab: Lab) -> str:
    argv = ["openssl", "x509", "-in", f"{TLS}/fullchain.pem", "-noout", "-ext", "subjectAltName"]
    return lab.machine.run(argv, check=True).stdout


def test_first_the_given_pair_is_written_and_nothing_of_it_is_anywhere_else(media: Lab) -> None:
    give(media, MEDIA_TLS_FULLCHAIN_B64=encoded(CHAIN), MEDIA_TLS_PRIVKEY_B64=encoded(KEY))

    run = traced_agent(media, "--log-level", "debug", "init")

    assert run.code == 0, run.stderr
    assert (read(media, "fullchain.pem"), read(media, "privkey.pem")) == (CHAIN, KEY)
    assert (mode(media, "fullchain.pem"), mode(media, "privkey.pem")) == (0o644, 0o600)
    steps = reports.steps(run.stderr)
    assert steps["files"] == "2 files written"
    assert steps["pre-up"] == "1 hook: 10-tls.sh"
    assert steps["mounts"] == "/mnt/media-data"
    assert leaks(media, {"key": "CANARYmediaPrivateKey7pQ2"}, run) == [f"key in {TLS}/privkey.pem"]


def test_second_what_is_there_is_kept(media: Lab) -> None:
    media.machine.run(["mkdir", "-p", TLS], check=True)
    for name in ("fullchain.pem", "privkey.pem"):
        media.machine.path(f"{TLS}/{name}").write_text(f"an operator's {name}")

    init(media)

    assert read(media, "privkey.pem") == "an operator's privkey.pem"
    assert read(media, "fullchain.pem") == "an operator's fullchain.pem"


def test_third_one_is_made_for_the_private_address_and_kept_by_the_next_boots(media: Lab) -> None:
    give(media, MEDIA_TLS_SAN_DNS="media.prod.delphi")

    init(media)

    address = media.engine.docker("inspect", "--format", "{{json .Config.Env}}", "media-media-1").stdout
    names = certificate(media)
    assert "DNS:media.prod.delphi" in names
    assert names.split("IP Address:")[1].split(",")[0].strip() in address
    assert (mode(media, "privkey.pem"), mode(media, "fullchain.pem")) == (0o600, 0o644)
    assert sorted(path.name for path in media.machine.path(TLS).iterdir()) == ["fullchain.pem", "privkey.pem"]
    key, before = read(media, "privkey.pem"), ids(media)

    again = init(media)
    assert "nothing changed" in reports.finished(again.stderr)["text"]
    assert ids(media) == before
    media.engine.docker("rm", "--force", "media-media-1")
    init(media)
    assert read(media, "privkey.pem") == key


def test_a_given_pair_takes_the_place_of_a_made_one_and_recreates_who_mounts_it(media: Lab) -> None:
    init(media)
    before = ids(media)
    give(media, MEDIA_TLS_FULLCHAIN_B64=encoded(CHAIN), MEDIA_TLS_PRIVKEY_B64=encoded(KEY))

    plan = media.agent("plan")
    assert "content of file media/tls/fullchain.pem, file media/tls/privkey.pem" in plan.stdout
    assert "BEGIN CERTIFICATE" in read(media, "fullchain.pem")
    assert read(media, "fullchain.pem") != CHAIN

    init(media)
    assert read(media, "privkey.pem") == KEY
    assert ids(media) != before
    assert "nothing changed" in reports.finished(init(media).stderr)["text"]


def test_half_a_pair_ends_the_run_before_a_container_is_touched_and_puts_the_files_back(media: Lab) -> None:
    init(media)
    before, chain = ids(media), read(media, "fullchain.pem")
    give(media, MEDIA_TLS_FULLCHAIN_B64=encoded(CHAIN))

    done = init(media, 74)

    told = reports.whole(reports.errors(done.stderr)[0])
    assert "MEDIA_TLS_PRIVKEY_B64 is not: set both, or none" in told
    assert read(media, "fullchain.pem") == chain
    assert ids(media) == before


def test_what_is_no_base64_ends_the_run_before_anything_changes(media: Lab) -> None:
    give(media, MEDIA_TLS_FULLCHAIN_B64=CHAIN, MEDIA_TLS_PRIVKEY_B64=encoded(KEY))

    done = init(media, 66)

    assert "the value of MEDIA_TLS_FULLCHAIN_B64 is not base64" in reports.whole(reports.errors(done.stderr)[0])
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    assert not media.machine.path("/opt/services/media").exists()


@pytest.mark.parametrize(("there", "words"), [(False, "does not exist"), (True, "is not a mount point")])
def test_a_volume_that_is_not_mounted_is_known_before_anything_is_pulled(
    media: Lab, words: str, *, there: bool
) -> None:
    media.machine.run(["umount", "/mnt/media-data"], check=True)
    if not there:
        media.machine.run(["rmdir", "/mnt/media-data"], check=True)

    done = init(media, 74)

    error = reports.errors(done.stderr)[0]
    assert error["cause"] == f"Data directory {words}: /mnt/media-data"
    assert "/etc/fstab" in error["next_step"]
    assert "pull" not in reports.steps(done.stderr)
    assert not media.machine.path("/opt/services/media").exists()
    assert media.agent("plan").returncode == 74


def test_a_host_without_openssl_is_told_what_it_may_do(media: Lab) -> None:
    media.machine.run(["mount", "--bind", "/dev/null", "/usr/bin/openssl"], check=True)
    try:
        done = init(media, 74)
    finally:
        media.machine.run(["umount", "/usr/bin/openssl"], check=True)

    assert "install openssl, or set MEDIA_TLS_FULLCHAIN_B64" in reports.whole(reports.errors(done.stderr)[0])
