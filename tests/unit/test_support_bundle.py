"""The support bundle: what goes into it, what is taken out, and the proof; also where everything is broken."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from agent.report.support import PROOF, Member, Scanner, archive, seal
from agent.secret import Secret

SECRET = "CANARY-planted 'value\"/7kQ2"


def forms(text: str) -> list[str]:
    raw = text.encode()
    shifted = [base64.b64encode(b"x" * before + raw + b"tail").decode() for before in range(4)]
    return [text, raw.hex(), raw.hex().upper(), json.dumps(text), *shifted, base64.urlsafe_b64encode(raw).decode()]


@pytest.mark.parametrize("form", forms(SECRET))
def test_a_known_secret_is_taken_out_in_every_form(form: str) -> None:
    scanner = Scanner({"A": Secret(SECRET)})
    assert scanner.finds(f"x {form} y")

    cleaned = scanner.clean(f"x {form} y")

    assert not scanner.finds(cleaned)
    assert "7kQ2" not in cleaned
    assert cleaned.startswith("x ")


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN EC PRIVATE KEY-----\nCANARYkey\nCANARYkey\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nCANARYcut off by the end of the log",
        "http://user:CANARYpassword@10.0.1.5:3128",
        "AKIACANARYCANARY1234",
        "Authorization: Bearer CANARYtokenOfSomebody",
    ],
)
def test_what_looks_like_a_secret_goes_without_being_known(text: str) -> None:
    assert "CANARY" not in Scanner({}).clean(f"before {text} after")


def test_what_cannot_be_cleaned_is_left_out_and_named_and_the_proof_says_so() -> None:
    scanner = Scanner({"API_KEY": Secret("redacted"), "SHORT": Secret("x")})

    sealed = seal([Member("a.txt", "the word redacted"), Member("b.txt", "fine")], scanner, ["where from"])

    assert [member.name for member in sealed.members] == [PROOF, "b.txt"]
    assert sealed.left_out == ("a.txt",)


def test_the_proof_tells_what_was_looked_for_by_name() -> None:
    sealed = seal(
        [Member("a.txt", f"x {SECRET}"), Member("b.txt", "fine")], Scanner({"API_KEY": Secret(SECRET)}), ["-"]
    )

    proof = sealed.members[0].text
    assert proof.startswith("-\nlooked for 1 secret in every text")
    assert "known by name: API_KEY\n" in proof
    assert "something was taken out of: a.txt\n" in proof
    assert "found in the 2 texts of this archive: no secret that is known\n" in proof
    assert sealed.members[1].text == "x [redacted]"


def test_of_a_long_text_the_end_is_kept() -> None:
    sealed = seal([Member("a.txt", "x" * (2 << 20) + "end")], Scanner({}), [])

    assert len(sealed.members[1].text) == 1 << 20
    assert sealed.members[1].text.endswith("end")


def test_the_archive_holds_each_member_for_its_owner_only() -> None:
    data = archive([Member("logs/web.txt", "text")], 1_700_000_000)

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        [entry] = tar.getmembers()
        assert (entry.name, entry.mode, entry.mtime) == ("delphi-agent-support/logs/web.txt", 0o600, 1_700_000_000)


def bundled(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The command on a host that has no more than what is below tmp_path/root."""
    argv = ["support-bundle", "--root", str(tmp_path / "root"), "--output", str(tmp_path / "bundle.tar.gz")]
    done = subprocess.run(
        [sys.executable, "-m", "agent", *argv, "--deadline", "20"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def members(output: Path) -> dict[str, str]:
    with tarfile.open(output) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar.getmembers()}
        return {name.partition("/")[2]: file.read().decode() for name, file in files.items() if file}


def test_a_host_where_nothing_is_there_gets_a_bundle_that_says_so(tmp_path: Path) -> None:
    output = tmp_path / "bundle.tar.gz"

    printed = bundled(tmp_path)

    assert printed.stdout == f"{output}\n"
    assert output.stat().st_mode & 0o7777 == 0o600
    with tarfile.open(output) as tar:
        names = {entry.name.removeprefix("delphi-agent-support/") for entry in tar.getmembers()}
        told = tar.extractfile("delphi-agent-support/status.json")
        assert told is not None
        assert b"No such file or directory" in told.read()
    assert {"proof.txt", "agent.json", "state.json", "bootstrap.txt", "docker-ps.txt", "df.txt"} <= names
    assert all(name in printed.stderr for name in names)


def test_of_the_bootstrap_file_only_what_says_which_deployment_it_is_has_a_value(tmp_path: Path) -> None:
    file = tmp_path / "root/opt/deployment/.env"
    file.parent.mkdir(parents=True)
    file.write_text(
        "SERVER_ROLE=api\nECR_TAG=1.2\nAWS_ACCESS_KEY_ID=AKIACANARYCANARY1234\nAWS_SECRET_ACCESS_KEY=CANARYkey12345\n"
        "APP_PASSWORD=CANARYpassword\nANYTHING=CANARYany\nHTTPS_PROXY=http://u:CANARYproxy@10.0.1.5:3128\n"
        "EMPTY=\nBAD=$(CANARYcommand)\n"
    )
    role = tmp_path / "root/opt/services/api"
    role.mkdir(parents=True)
    (role / "vars.yaml").write_text("service: api\nvariables: [{name: X, default: CANARYany, password: CANARYplain}]\n")
    (role / "docker-compose.yaml").write_text("services: {a: {environment: {API_TOKEN: CANARYliteral}}}\n")
    output = tmp_path / "bundle.tar.gz"

    bundled(tmp_path)

    texts = members(output)
    lines = texts["bootstrap.txt"].splitlines()
    assert lines[:4] == [
        "SERVER_ROLE=api",
        "ECR_TAG=1.2",
        "AWS_ACCESS_KEY_ID=[redacted]",
        "AWS_SECRET_ACCESS_KEY=[redacted]",
    ]
    assert "ANYTHING=[redacted]" in lines
    assert "HTTPS_PROXY=http://[redacted]@10.0.1.5:3128" in lines
    assert "EMPTY=" in lines
    assert "# not read: BAD" in lines
    assert {name for name, text in texts.items() if "CANARY" in text} == set()


def test_of_cloud_init_there_is_what_it_did_and_nothing_that_quotes_user_data(tmp_path: Path) -> None:
    place = tmp_path / "root/run/cloud-init"
    place.mkdir(parents=True)
    quoting = ["Failed at line 3: export TEAM=CANARYofAnotherTeam"]
    stage = {"errors": quoting, "recoverable_errors": {"WARNING": quoting}, "start": 1.5, "finished": None}
    document = {"v1": {"datasource": "DataSourceEc2Local", "stage": None, "init": stage, "odd": "CANARYodd"}}
    (place / "status.json").write_text(json.dumps(document))
    (place / "result.json").write_text("[" * 100_000)

    bundled(tmp_path)

    texts = members(tmp_path / "bundle.tar.gz")
    told = {"errors": "1, left out", "recoverable_errors": {"WARNING": "1, left out"}, "start": 1.5, "finished": None}
    shown = {"datasource": "DataSourceEc2Local", "stage": None, "init": told, "odd": "[redacted]"}
    assert json.loads(texts["cloud-init-status.json"]) == {"v1": shown}
    assert texts["cloud-init-result.json"].endswith("result.json: no JSON\n")
    assert {name for name, text in texts.items() if "CANARY" in text} == set()


def test_an_address_of_a_secret_stays_readable(tmp_path: Path) -> None:
    file = tmp_path / "root/opt/deployment/.env"
    file.parent.mkdir(parents=True)
    arn = "arn:aws:secretsmanager:eu-west-1:1:secret:db"
    file.write_text(f"SERVER_ROLE=api\nMAIL_SECRET_ARN={arn}\nLICENSE=CANARYlicense\n")
    role = tmp_path / "root/opt/services/api"
    role.mkdir(parents=True)
    (role / "vars.yaml").write_text(f"# {arn} CANARYlicense\n")

    bundled(tmp_path)

    assert members(tmp_path / "bundle.tar.gz")["role/vars.yaml"] == f"# {arn} [redacted]\n"
