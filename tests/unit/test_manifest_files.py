"""The manifest's `files` and `mounts`: what is read, every fault with its place, and the schema that says the same."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.checks.offline import check
from agent.errors import ManifestError
from agent.steps.host_files import HostFile
from agent.steps.mounts import Mount
from agent.variables import manifest_files
from agent.variables.manifest import Manifest, check_against, parse

SCHEMA = json.loads((resources.files("agent.variables") / "vars.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def parsed(text: str) -> Manifest:
    return parse(f"service: media\n{text}".encode(), "vars.yaml", known=("KEY", "CERT"))


def faults(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parsed(text)
    return [line.removeprefix("vars.yaml:") for line in caught.value.details]


def test_a_file_has_the_mode_0600_and_belongs_to_root_unless_it_says_otherwise() -> None:
    [file] = parsed("files: [{variable: KEY, path: tls/privkey.pem}]").files

    assert file == HostFile(variable="KEY", path="tls/privkey.pem", mode=0o600, owner="root")
    assert (file.line, file.column) == (2, 9)


@pytest.mark.parametrize("mode", ["'0640'", "0640", "640", "'640'"])
def test_a_mode_is_read_as_it_is_spelled(mode: str) -> None:
    [file] = parsed(f"files: [{{variable: KEY, path: a, mode: {mode}}}]").files

    assert file.mode == 0o640


@pytest.mark.parametrize("owner", ["1000:1000", "'1000'", "delphi", "delphi:ssl-cert", "0:33"])
def test_an_owner_is_a_name_or_a_number_quoted_or_not(owner: str) -> None:
    [file] = parsed(f"files: [{{variable: KEY, path: a, owner: {owner}}}]").files

    assert file.owner == owner.strip("'")


def test_every_field_of_a_file() -> None:
    text = (
        "files:\n- {variable: CERT, path: a, encoding: base64, required: true}\n- {variable: KEY, path: b, mode: ~}\n"
    )
    one, two = parsed(text).files

    assert (one.encoded, one.required) == (True, True)
    assert (two.encoded, two.required, two.mode) == (False, False, 0o600)


def test_all_faults_of_the_section_are_told_at_once_with_their_places() -> None:
    told = faults(
        "files:\n"
        "- {path: a}\n"
        "- {variable: KEY}\n"
        "- {variable: A-B, path: b, mode: '0999'}\n"
        "- {variable: KEY, path: c, owner: 'a b', encoding: hex, required: 'yes'}\n"
        "- {variable: UNKNOWN, path: d}\n"
        "- {variable: KEY, path: e}\n"
        "- {variable: KEY, path: e}\n"
        "- {variable: KEY, path: e/f}\n"
        "- text\n"
    )

    assert [line.split(": ")[0] for line in told] == [
        "3:3", "4:3", "5:14", "5:34", "6:35", "6:52", "6:67", "7:3", "9:3", "10:3", "11:3",
    ]  # fmt: skip
    assert any("UNKNOWN, which neither the manifest declares nor the bootstrap file sets" in line for line in told)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../api/x", "a/../b", "a//b", "a/", "./a", ".", "..", "''", "hooks/pre-up.d/x", "hooks",
        ".env", ".ecr-tag", "vars.yaml", "docker-compose.yaml", "docker-compose.override.yml", '"a\\nb"',
    ],
)  # fmt: skip
def test_a_path_that_leaves_the_role_s_folder_or_is_read_by_others_is_refused(path: str) -> None:
    assert len(faults(f"files: [{{variable: KEY, path: {path}}}]")) == 1


def test_unknown_fields_warn() -> None:
    manifest = parsed("files: [{variable: KEY, path: a, x: 1}]\nmounts: [{path: /a, y: 2}]")

    assert [line.split(": ")[0] for line in manifest.warnings] == ["vars.yaml:2:34", "vars.yaml:3:21"]


def test_a_variable_of_the_bootstrap_file_is_known_and_one_of_nobody_is_not() -> None:
    manifest = parse(b"service: a\nfiles: [{variable: KEY, path: a}]", "vars.yaml")

    check_against(manifest, ["KEY"])
    with pytest.raises(ManifestError):
        check_against(manifest, ["OTHER"])


def test_mounts_are_paths_or_say_more() -> None:
    text = "mounts:\n- /mnt/data\n- {path: /mnt/media-data, writable: true, free: 20GiB}\n"

    assert parsed(text).mounts == (
        Mount(path="/mnt/data"),
        Mount(path="/mnt/media-data", writable=True, free=20 << 30),
    )


def test_all_faults_of_mounts_are_told_at_once() -> None:
    told = faults("mounts: [mnt, /mnt/, /mnt/../x, {}, {path: /a, free: 1GB, writable: 1}, /b, /b, [/c], /]")

    assert len(told) == 10
    assert {line.split(":")[0] for line in told} == {"2"}


PATHS = st.sampled_from(
    ["a", "tls/key.pem", "/a", "../a", "a/..", "a//b", "hooks/x", "vars.yaml", "a/vars.yaml", 7, True]
)
FILE = st.fixed_dictionaries(
    {},
    optional={
        "variable": st.sampled_from(["KEY", "1A", "a-b", "", True, None]),
        "path": st.one_of(PATHS, st.none()),
        "mode": st.sampled_from(["0600", "600", "0999", "06", "", None, True, [1]]),
        "owner": st.sampled_from(["root", "1:2", "a b", "", 1000, None, [1]]),
        "encoding": st.sampled_from(["base64", "hex", None, 1]),
        "required": st.sampled_from([True, False, None, "true"]),
        "unknown": st.just(1),
    },
)
MOUNT = st.one_of(
    st.sampled_from(["/mnt/data", "/a/", "a", "/", "//a", "/a/../b", 7, None, True]),
    st.fixed_dictionaries(
        {},
        optional={
            "path": st.sampled_from(["/mnt/x", "x", None, 7]),
            "writable": st.sampled_from([True, None, "yes", 1]),
            "free": st.sampled_from(["1GiB", "0GiB", "1GB", None, 5]),
            "unknown": st.just(1),
        },
    ),
)


@given(st.one_of(st.lists(FILE, max_size=2), FILE), st.one_of(st.lists(MOUNT, max_size=2), MOUNT))
@settings(max_examples=1500, deadline=None)
@pytest.mark.slow
def test_the_schema_and_the_parser_agree(files: object, mounts: object) -> None:
    document = {"service": "media", "files": files, "mounts": mounts}
    told, unknown = _refusals(document)
    beyond = [line for line in told if "twice" in line or "cannot both" in line or "neither the manifest" in line]
    valid = VALIDATOR.is_valid(document)

    assert valid == (not unknown and len(told) == len(beyond)), (told, unknown)


def _refusals(document: object) -> tuple[list[str], list[str]]:
    try:
        manifest = parse(yaml.safe_dump(document).encode(), "vars.yaml", known=("KEY", "True"))
    except ManifestError as error:
        # Warnings are not told beside faults: a field that is unknown makes the schema refuse the document anyway.
        return list(error.details), ["unknown"] if "unknown" in json.dumps(document) else []
    return [], [line for line in manifest.warnings if "unknown field" in line]


def test_the_schema_has_exactly_the_parser_s_fields() -> None:
    definitions: dict[str, Any] = SCHEMA["$defs"]
    assert set(definitions["file"]["properties"]) == set(manifest_files.FILE_FIELDS)
    assert set(definitions["mount"]["properties"]) == set(manifest_files.MOUNT_FIELDS)
    assert set(definitions["file"]["properties"]["path"]["not"]["enum"]) == manifest_files.RESERVED


def test_check_finds_the_same_faults_and_warnings_and_counts_a_file_as_a_use(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yaml").write_text("services: {a: {image: 'x:1'}}\n")
    (tmp_path / "vars.yaml").write_text(
        "service: media\nvariables: [{name: KEY}]\nfiles: [{variable: KEY, path: a, x: 1}, {variable: KEY, path: /b}]\n"
        "mounts: [mnt]\n"
    )

    found = check(tmp_path, lambda path: path.name).findings

    assert [(item.code, item.place.line) for item in found if item.place.file == "vars.yaml"] == [
        ("manifest-doubtful", 3),
        ("manifest-invalid", 3),
        ("manifest-invalid", 4),
    ]
