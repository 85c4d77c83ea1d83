"""Bundles that are odd, too large, or replaced while they are being read, on an instance."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from tests.lab.aws import Fault
from tests.lab.aws_model import BUCKET
from tests.lab.lab import Lab
from tests.lab.process import Running, wait_until
from tests.lab.world import BUNDLE, PREFIX, REF
from tests.lab_tests import reports
from tests.lab_tests.test_first_boot import container_environment, container_ids

SERVICES = "/opt/services"
MANIFEST = "vars.yaml"


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance after its first boot."""
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def live(lab: Lab, name: str) -> bytes:
    return lab.machine.path(f"{SERVICES}/{name}").read_bytes()


def refused(lab: Lab, code: int, *arguments: str) -> str:
    """How the agent refuses to boot; nothing of it may be left."""
    done = lab.agent("init", *arguments)
    assert done.returncode == code, done.stderr
    assert not lab.machine.path(f"{SERVICES}/.delphi-agent-staging").exists()
    return "\n".join(reports.whole(error) for error in reports.errors(done.stderr))


# --- keys


def test_every_key_that_cannot_be_placed_is_told_and_nothing_is_placed(instance: Lab) -> None:
    up = "api/../../../../../../etc/x"
    names = ["api/\x01\x1b[31m", up, "api/Tls/a", "api/tls/b", "api/x", "api/x/y", "common//z", "api/.env/a"]
    for name in names:
        instance.world.put_file(name, "")
    instance.world.put_file("common/marker/", "content")

    text = refused(instance, 65)

    assert "7 of the bundle's keys" in text
    for shown in (r"api/\x01\x1b[31m'", f"{up}'", "Tls'", "api/x': both", "common//z'", ".env/a'", "marker/'"):
        assert shown in text
    assert not instance.machine.path(f"{SERVICES}/api").exists()
    assert not instance.machine.path("/etc/x").exists()


def test_odd_names_are_placed_as_they_are(instance: Lab) -> None:
    names = [
        "a b",
        " lead",
        "+plus+",
        "100%",
        "%41",
        "-rf",
        "'\"",
        "$HOME",
        "back\\slash",
        "ä/東京/🚀",
        ".hidden",
        "...",
    ]
    for name in names:
        instance.world.put_file(f"api/odd/{name}", name)

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert {name: live(instance, f"api/odd/{name}").decode() for name in names} == {name: name for name in names}


def test_an_empty_folder_is_made_once_and_what_the_host_puts_there_stays(deployed: Lab) -> None:
    deployed.world.put_file("api/spool/in/", "")

    first = deployed.agent("init")

    assert first.returncode == 0, first.stderr
    assert "1 empty folder" in reports.steps(first.stderr)["bundle"]
    folder = deployed.machine.path(f"{SERVICES}/api/spool/in")
    assert folder.stat().st_mode & 0o7777 == 0o755
    (folder / "job").write_text("the host's own")
    again = deployed.agent("init")
    assert again.returncode == 0, again.stderr
    assert reports.finished(again.stderr)["outcome"] == "unchanged"
    assert "none changed, none downloaded" in reports.steps(again.stderr)["bundle"]
    assert (folder / "job").read_text() == "the host's own"


# --- how objects were uploaded


def test_empty_objects_uploads_in_parts_and_objects_under_a_key_arrive_whole(instance: Lab) -> None:
    client, base = instance.aws.client("s3"), f"{PREFIX}/{REF}/api/"
    parts = bytes(range(256)) * (6 << 12)
    client.put_object(Bucket=BUCKET, Key=f"{base}empty", Body=b"")
    client.put_object(
        Bucket=BUCKET, Key=f"{base}kms", Body=b"under a key", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/x"
    )
    client.put_object(Bucket=BUCKET, Key=f"{base}sum", Body=b"with a checksum", ChecksumAlgorithm="SHA256")
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=f"{base}parts")["UploadId"]
    done = []
    for number, start in ((1, 0), (2, 5 << 20)):
        piece = io.BytesIO(parts[start : start + (5 << 20)])
        tag = client.upload_part(Bucket=BUCKET, Key=f"{base}parts", UploadId=upload, PartNumber=number, Body=piece)
        done.append({"PartNumber": number, "ETag": tag["ETag"]})
    client.complete_multipart_upload(
        Bucket=BUCKET, Key=f"{base}parts", UploadId=upload, MultipartUpload={"Parts": done}
    )

    booted = instance.agent("init")

    assert booted.returncode == 0, booted.stderr
    assert live(instance, "api/empty") == b""
    assert live(instance, "api/kms") == b"under a key"
    assert live(instance, "api/sum") == b"with a checksum"
    assert live(instance, "api/parts") == parts
    again = instance.agent("init")
    assert "none downloaded" in reports.steps(again.stderr)["bundle"]


@pytest.mark.parametrize("kind", ["short", "corrupt"])
def test_an_object_that_stays_damaged_ends_the_boot_before_anything_changes(instance: Lab, kind: str) -> None:
    instance.aws.add_fault(Fault("s3:GetObject .*Caddyfile", kind=kind, times=None))  # type: ignore[arg-type]  # one of FaultKind

    text = refused(instance, 65)

    assert "api/Caddyfile" in text
    assert not instance.machine.path(f"{SERVICES}/api").exists()


# --- caps and the disk


def test_too_many_objects_are_refused_and_named_with_the_setting(instance: Lab) -> None:
    instance.world.write_bootstrap(instance.world.bootstrap_env(CONFIG_MAX_OBJECTS="3"))

    text = refused(instance, 65)

    assert "at least 4 objects; at most 3 objects are taken (CONFIG_MAX_OBJECTS)" in text
    instance.world.write_bootstrap(instance.world.bootstrap_env(CONFIG_MAX_OBJECTS="4"))
    assert instance.agent("init").returncode == 0


def test_too_many_bytes_are_refused_before_anything_is_fetched(instance: Lab) -> None:
    instance.world.put_file("api/large", b"x" * 100_000)
    instance.world.write_bootstrap(instance.world.bootstrap_env(CONFIG_MAX_BYTES="100000"))

    assert "at most 100,000 bytes (97.7 KiB) are taken (CONFIG_MAX_BYTES)" in refused(instance, 65)
    assert instance.aws.calls("s3:GetObject") == []


@pytest.mark.parametrize("value", ["0", "-1", "1e6", "10G", "1_000", "'1 000'"])
def test_a_cap_that_is_no_number_is_a_fault_of_the_bootstrap_file(instance: Lab, value: str) -> None:
    instance.world.write_bootstrap(instance.world.bootstrap_env(CONFIG_MAX_OBJECTS="7", CONFIG_MAX_BYTES=value))

    assert "CONFIG_MAX_BYTES must be a whole number above 0" in refused(instance, 78)


def test_the_role_cannot_be_the_folder_of_the_common_files(instance: Lab) -> None:
    instance.world.write_bootstrap(instance.world.bootstrap_env(SERVER_ROLE="common"))

    assert "SERVER_ROLE must be" in refused(instance, 78)


@pytest.fixture
def small_disk(instance: Lab) -> Iterator[Lab]:
    """70 MiB for /opt/services, of which the agent leaves 64 alone, and 12 inodes, of which some are for folders."""
    options = "size=70m,nr_inodes=12,mode=755"
    instance.machine.run(["mkdir", "-p", SERVICES], check=True)
    instance.machine.run(["mount", "-t", "tmpfs", "-o", options, "small", SERVICES], check=True)
    yield instance
    instance.machine.run(["umount", SERVICES], check=True)


def test_a_disk_without_room_is_told_with_its_figures_before_the_sync(small_disk: Lab) -> None:
    small_disk.world.put_file("api/large", b"x" * (7 << 20))

    text = refused(small_disk, 74)

    assert "the bundle needs 7.0 MiB, 70.0 MiB are free and 64.0 MiB of them are left alone" in text
    assert "free some space" in text
    fetched = [call.resource for call in small_disk.aws.calls("s3:GetObject")]
    assert [name for name in fetched if not name.endswith(MANIFEST)] == []


def test_a_disk_without_inodes_is_told_with_its_figures_before_the_sync(small_disk: Lab) -> None:
    for number in range(20):
        small_disk.world.put_file(f"api/{number}", "")

    assert "the bundle needs 24 inodes" in refused(small_disk, 74)


# --- a bundle that is replaced while it is read


def started(lab: Lab, *held: str) -> Running:
    """A boot that is held up, for two seconds each, when it has listed the bundle and asks for these objects."""
    for name in held:
        lab.aws.add_fault(Fault(f"s3:GetObject .*{name}", kind="delay", delay=2))
    lab.aws.clear_calls()
    running = lab.machine.start_process([*lab.agent_command(), "init"], env=lab.agent_env())
    wait_until(lambda: lab.aws.calls("s3:ListObjectsV2")[1:], "the listing")
    return running


def test_a_file_that_is_replaced_meanwhile_is_the_new_one_with_all_that_came_with_it(instance: Lab) -> None:
    running = started(instance, "Caddyfile")
    wait_until(lambda: '"bundle"' in running.stderr(), "the sync")
    instance.world.put_file("api/Caddyfile", "# replaced")
    instance.world.put_file("api/new", "came with it")

    assert running.wait() == 0, running.stderr()

    assert live(instance, "api/Caddyfile") == b"# replaced"
    assert live(instance, "api/new") == b"came with it"
    events = [event for event in reports.events(running.stderr()) if event["event"] == "bundle.moved"]
    assert len(events) == 1
    assert "api/Caddyfile: it was replaced after it had been listed" in events[0]["text"]
    assert not [event for event in reports.events(running.stderr()) if event["event"] == "step.failed"]


def test_a_manifest_that_is_replaced_meanwhile_is_the_one_that_values_are_read_for(instance: Lab) -> None:
    running = started(instance, "Caddyfile")
    wait_until(lambda: '"bundle"' in running.stderr(), "the sync")
    manifest, compose = (BUNDLE / f"api/{name}" for name in (MANIFEST, "docker-compose.yaml"))
    added = "  - {name: ADDED, default: by-the-upload}\n"
    instance.world.put_file(f"api/{MANIFEST}", manifest.read_text() + added)
    wanted = compose.read_text().replace("environment:", "environment:\n      - ADDED", 1)
    instance.world.put_file("api/docker-compose.yaml", wanted)
    instance.world.put_file("api/Caddyfile", "# replaced")

    assert running.wait() == 0, running.stderr()

    assert b"ADDED" in live(instance, f"api/{MANIFEST}")
    assert container_environment(instance, "api-telapi-1")["ADDED"] == "by-the-upload"


def test_a_manifest_that_is_replaced_before_it_is_read_is_read_again(instance: Lab) -> None:
    running = started(instance, MANIFEST)
    replaced = (BUNDLE / f"api/{MANIFEST}").read_bytes() + b"# replaced\n"
    instance.world.put_file(f"api/{MANIFEST}", replaced)

    assert running.wait() == 0, running.stderr()
    assert live(instance, f"api/{MANIFEST}") == replaced


def test_a_bundle_that_goes_on_changing_is_told_and_left_for_later(deployed: Lab) -> None:
    before = live(deployed, "api/Caddyfile")
    deployed.world.put_file("api/Caddyfile", "half of an upload")
    deployed.aws.add_fault(Fault("s3:GetObject .*Caddyfile", status=412, code="PreconditionFailed", times=None))
    containers = container_ids(deployed)

    text = refused(deployed, 69)

    assert "api/Caddyfile" in text
    assert "the bundle is being uploaded right now: run it again when the upload is done" in text
    assert len(deployed.aws.calls("s3:GetObject")) >= 2
    assert live(deployed, "api/Caddyfile") == before
    assert container_ids(deployed) == containers


def test_a_file_that_is_removed_meanwhile_is_not_missed(instance: Lab) -> None:
    instance.world.put_file("api/going", "x")
    running = started(instance, "going")
    wait_until(lambda: '"bundle"' in running.stderr(), "the sync")
    instance.world.delete_file("api/going")

    assert running.wait() == 0, running.stderr()
    assert not instance.machine.path(f"{SERVICES}/api/going").exists()


def _remove_the_ref(lab: Lab) -> None:
    client = lab.aws.client("s3")
    for item in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/{REF}/")["Contents"]:
        client.delete_object(Bucket=BUCKET, Key=item["Key"])


def test_a_ref_that_vanishes_while_it_is_read_is_missing_and_what_runs_goes_on(deployed: Lab) -> None:
    before, containers = live(deployed, "api/Caddyfile"), container_ids(deployed)
    # One that is as it was is not fetched.
    deployed.world.put_file(f"api/{MANIFEST}", (BUNDLE / f"api/{MANIFEST}").read_bytes() + b"# changed\n")
    running = started(deployed, MANIFEST)
    _remove_the_ref(deployed)

    assert running.wait() == 65, running.stderr()

    assert "0 objects under s3://delphi-config/deployments/delphi/v1/api/" in running.stderr()
    assert live(deployed, "api/Caddyfile") == before
    assert container_ids(deployed) == containers


def test_a_ref_that_is_gone_after_a_deploy_is_missing_and_what_runs_goes_on(deployed: Lab) -> None:
    before, containers = live(deployed, "api/Caddyfile"), container_ids(deployed)
    _remove_the_ref(deployed)

    assert "0 objects under" in refused(deployed, 65)
    assert live(deployed, "api/Caddyfile") == before
    assert container_ids(deployed) == containers
