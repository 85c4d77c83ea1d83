"""Finding the bundle: the slug, the listing, and that a key becomes a path below /opt/services or nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.aws.s3 import RemoteObject
from agent.errors import BootstrapError, BundleError, BundleMissing
from agent.steps.bootstrap import Bootstrap, load
from agent.steps.bundle import Listing, find
from agent.steps.caps import Caps
from tests.unit.fakes import FakeBucket

BASE = "deployments/acme/main/"
GOOD = {
    f"{BASE}api/vars.yaml": b"service: api",
    f"{BASE}api/docker-compose.yaml": b"{}",
    f"{BASE}common/otel.yaml": b"",
}
# S3 allows any Unicode in a key; these are the parts that matter to a file system.
PARTS = st.one_of(
    st.sampled_from(["", ".", "..", "...", "~", "-rf", "a", "b", "\\", "x" * 255, "x" * 256, "a\0b", "a\nb", " ", "*"]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
KEYS = st.lists(PARTS, min_size=1, max_size=5).map("/".join)


def found(objects: dict[str, bytes], slug: str | None = "acme") -> Listing:
    return find(FakeBucket(objects), slug, "main", "api")


def refused(objects: dict[str, bytes]) -> BundleError:
    with pytest.raises(BundleError) as caught:
        found(objects)
    assert caught.value.exit_status == 65
    return caught.value


def test_the_role_and_the_common_files_are_listed_and_nothing_beside_them() -> None:
    beside = {f"{BASE}api2/x": b"", f"{BASE}apis": b"", f"{BASE}web/x": b"", "deployments/acme/main2/api/x": b""}
    listing = found(GOOD | beside)

    assert {"api/vars.yaml", "api/docker-compose.yaml", "common/otel.yaml"} == {item.path for item in listing.entries}
    assert (listing.slug, listing.ref, listing.role, listing.warnings) == ("acme", "main", "api", ())


def test_an_entry_is_found_by_its_path() -> None:
    listing = found(GOOD)
    entry = listing.entry("api/vars.yaml")

    assert entry is not None
    assert f"{BASE}api/vars.yaml" == entry.source.key
    assert listing.entry("api/none") is None


def test_a_role_without_common_files_is_fine() -> None:
    assert len(found({f"{BASE}api/vars.yaml": b""}).entries) == 1


def test_no_object_for_the_role_is_told_with_the_place_that_was_looked_at() -> None:
    with pytest.raises(BundleMissing, match="0 objects under s3://delphi-config/deployments/acme/main/api/") as caught:
        found({f"{BASE}common/x": b""})

    assert "CONFIG_REF" in caught.value.next_step


def test_the_only_slug_that_has_the_ref_and_role_is_used_and_told() -> None:
    listing = found({**GOOD, "deployments/other/main/web/x": b"", "deployments/third/v1/api/x": b""}, slug=None)

    assert listing.slug == "acme"
    assert len(listing.warnings) == 1
    assert "'acme'" in listing.warnings[0]


def test_several_slugs_that_fit_are_all_named() -> None:
    with pytest.raises(BundleMissing, match="2 slugs have main/api/; candidates: acme, beta") as caught:
        found({**GOOD, "deployments/beta/main/api/x": b"", "deployments/gamma/main/web/x": b""}, slug=None)

    assert "CONFIG_SLUG" in caught.value.next_step


@pytest.mark.parametrize(("objects", "listed"), [({}, "none"), ({"deployments/beta/main/web/x": b""}, "beta")])
def test_no_slug_that_fits_names_those_that_are_there(objects: dict[str, bytes], listed: str) -> None:
    with pytest.raises(BundleMissing, match=f"0 slugs have main/api/; slugs in the bucket: {listed}"):
        found(objects, slug=None)


@pytest.mark.parametrize("name", [".env", ".ecr-tag"])
def test_a_file_that_belongs_to_the_host_is_not_installed_and_that_is_told(name: str) -> None:
    listing = found({**GOOD, f"{BASE}api/{name}": b"x", f"{BASE}api/sub/{name}": b"x"})

    assert listing.entry(f"api/{name}") is None
    assert [f"the bundle's api/{name} is not installed: that file belongs to the host"] == list(listing.warnings)


@pytest.mark.parametrize("name", [".env", ".ecr-tag"])
@pytest.mark.parametrize("rest", ["/", "/x"])
def test_a_folder_where_the_host_has_a_file_is_refused(name: str, rest: str) -> None:
    [detail] = refused({**GOOD, f"{BASE}api/{name}{rest}": b""}).details

    assert f"a folder where the host has its file {name}" in detail
    assert found({**GOOD, f"{BASE}common/{name}/x": b""}).entry(f"common/{name}/x")


def test_markers_of_folders_are_no_files() -> None:
    markers = {f"{BASE}api/": b"", f"{BASE}api/tls/": b"", f"{BASE}common/": b"", f"{BASE}common/a/b c/": b""}
    listing = found({**GOOD, **markers})

    assert len(listing.entries) == 3
    assert listing.folders == ("api/tls", "common/a/b c")


def test_a_marker_of_a_folder_that_has_files_asks_for_nothing() -> None:
    assert found({**GOOD, f"{BASE}api/a/": b"", f"{BASE}api/a/b/c": b""}).folders == ()


def test_every_key_that_cannot_be_placed_is_told_at_once_as_it_is_in_the_bucket() -> None:
    error = refused(
        {
            **GOOD,
            f"{BASE}api/../../../etc/passwd": b"",
            f"{BASE}api//x": b"",
            f"{BASE}common/a\nb": b"",
            f"{BASE}api/{'x' * 256}": b"",
            f"{BASE}api/vars.yaml/x": b"",
        }
    )

    assert len(error.details) == 5
    assert f"'{BASE}common/a\\nb': a control character" in "\n".join(error.details)
    assert f"'{BASE}api/vars.yaml': both a file and a folder" == error.details[-1]
    assert all("\n" not in detail for detail in error.details)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", "`..` part"),
        ("/etc/passwd", "an empty"),
        ("a/./b", "`.`"),
        ("a/..", "`..`"),
        ("a//", "an empty"),
        ("a\0b", "a control character"),
        ("a\x1b[31mb", "a control character"),
        ("a\x7f", "a control character"),
        ("a\u2028b", "a line break"),
        ("a\rb/c", "a line break"),
        ("a\ud800", "half a character"),
        ("ä" * 128, "longer than 255 bytes"),
        ("/".join(["x" * 200] * 20), "longer than 3800 bytes"),
    ],
)
def test_a_key_that_no_path_can_hold_is_refused(name: str, why: str) -> None:
    key = f"{BASE}api/{name}"
    [detail] = refused({**GOOD, key: b""}).details

    assert detail.startswith(f"{key!r}: ")
    assert why in detail


@pytest.mark.parametrize("name", ["a\\b", "~", "-rf", "*", " ", "a b", "...", "$HOME", "'", "%2e%2e", "🚀", "a\u200db"])
def test_a_name_that_is_odd_and_harmless_is_taken(name: str) -> None:
    assert found({**GOOD, f"{BASE}api/{name}": b""}).entry(f"api/{name}")


def test_a_marker_of_a_folder_with_content_is_refused() -> None:
    [detail] = refused({**GOOD, f"{BASE}api/tls/": b"12345"}).details

    assert detail == f"'{BASE}api/tls/': the name of a folder, and 5 bytes of content"


def test_a_marker_of_a_folder_where_a_file_is_too_is_refused() -> None:
    [detail] = refused({**GOOD, f"{BASE}api/a": b"", f"{BASE}api/a/": b""}).details

    assert "both a file and a folder" in detail


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.txt", "a.txt"),
        ("Straße", "STRASSE"),
        ("Ä", "ä"),
        ("A\u0308", "Ä"),
        ("\u212a", "k"),
        ("ﬁ", "fi"),
        ("Tls/", "tls/"),
        ("Tls", "tls/"),
    ],
)
def test_names_that_are_one_on_a_laptop_are_refused(one: str, other: str) -> None:
    [detail] = refused({**GOOD, f"{BASE}api/{one}": b"", f"{BASE}api/{other}": b""}).details

    assert repr(f"{BASE}api/{one.rstrip('/')}") in detail
    assert repr(f"{BASE}api/{other.rstrip('/')}") in detail
    assert "only in upper case or in the form of Unicode" in detail


def test_folders_that_clash_are_told_once_and_not_for_every_file_in_them() -> None:
    files = {f"{BASE}api/{folder}/{name}": b"" for folder in ("Tls", "tls") for name in ("a", "b", "c")}

    [detail] = refused({**GOOD, **files}).details
    assert f"'{BASE}api/tls' differs" not in detail
    assert f"'{BASE}api/tls': differs from '{BASE}api/Tls'" in detail


def test_the_same_name_in_two_folders_is_no_clash() -> None:
    found({**GOOD, f"{BASE}api/a/X": b"", f"{BASE}api/b/x": b"", f"{BASE}common/A": b"", f"{BASE}common/b/a": b""})


def test_thousands_of_faults_are_counted_and_a_hundred_are_told() -> None:
    error = refused({**GOOD, **{f"{BASE}api/\n{number:05}": b"" for number in range(2500)}})

    assert error.cause.startswith("2500 of the bundle's keys")
    assert len(error.details) == 101
    assert error.details[-1] == "and 2,400 more"


# --- caps


class Endless:
    """A bucket that never runs out of objects; `taken` says how many were asked for."""

    name = "delphi-config"

    def __init__(self, size: int) -> None:
        self.taken = 0
        self._size = size

    def listing(self, prefix: str) -> Iterator[RemoteObject]:
        while True:
            self.taken += 1
            yield RemoteObject(f"{prefix}{self.taken}", self._size, "etag")

    def folders(self, prefix: str) -> list[str]:
        raise AssertionError("the slug is given")

    def holds(self, prefix: str) -> bool:
        raise AssertionError("the slug is given")


def test_too_many_objects_are_refused_and_the_rest_is_not_listed() -> None:
    bucket = Endless(0)
    with pytest.raises(BundleError, match="at least 501 objects; at most 500 objects are taken") as caught:
        find(bucket, "acme", "main", "api", Caps(objects=500))

    assert bucket.taken == 501
    assert caught.value.exit_status == 65
    assert "CONFIG_MAX_OBJECTS" in caught.value.cause
    assert "CONFIG_MAX_OBJECTS" in caught.value.next_step


def test_too_many_bytes_are_refused_and_the_rest_is_not_listed() -> None:
    bucket = Endless(1 << 20)
    with pytest.raises(
        BundleError, match=r"11,534,336 bytes \(11\.0 MiB\) in 11 objects; at most 10,485,760"
    ) as caught:
        find(bucket, "acme", "main", "api", Caps(total=10 << 20))

    assert bucket.taken == 11
    assert "CONFIG_MAX_BYTES" in caught.value.next_step


def test_the_caps_count_the_role_and_the_common_files_together() -> None:
    assert len(find(FakeBucket(GOOD), "acme", "main", "api", Caps(objects=3)).entries) == 3
    with pytest.raises(BundleError, match="at least 3 objects"):
        find(FakeBucket(GOOD), "acme", "main", "api", Caps(objects=2))


def test_a_bundle_that_uses_all_that_it_may_is_taken() -> None:
    whole = sum(len(content) for content in GOOD.values())

    assert find(FakeBucket(GOOD), "acme", "main", "api", Caps(total=whole)).slug == "acme"
    with pytest.raises(BundleError, match="CONFIG_MAX_BYTES"):
        find(FakeBucket(GOOD), "acme", "main", "api", Caps(total=whole - 1))


REQUIRED = (
    "ENVIRONMENT=prod HOSTNAME=api-1 SERVER_ROLE=api ECR_REGISTRY=registry.internal ECR_TAG=1 CONFIG_BUCKET=bkt"
    " CONFIG_REF=main NAMESPACE=acme AWS_REGION=eu-central-1"
)


def bootstrap(folder: Path, more: str) -> Bootstrap:
    (folder / "env").write_text(f"{REQUIRED} {more}\n")
    return load(folder / "env", ".env")


def test_the_caps_are_settings_of_the_bootstrap_file(tmp_path: Path) -> None:
    usual = bootstrap(tmp_path, "CONFIG_MAX_BYTES=")
    own = bootstrap(tmp_path, "CONFIG_MAX_OBJECTS=0050 CONFIG_MAX_BYTES=10737418240")

    assert Caps.of(usual.variables) == Caps() == Caps(objects=20_000, total=5 << 30)
    assert Caps.of(own.variables) == Caps(objects=50, total=10 << 30)


@pytest.mark.parametrize("name", ["CONFIG_MAX_OBJECTS", "CONFIG_MAX_BYTES"])
@pytest.mark.parametrize("value", ["0", "00", "-1", "+1", "1e6", "10G", "1_000", "'1 000'", "٣", "9" * 30])
def test_a_cap_that_is_no_number_is_a_fault_of_the_bootstrap_file(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BootstrapError) as caught:
        bootstrap(tmp_path, f"{name}={value}")

    assert caught.value.exit_status == 78
    assert caught.value.details == (f".env:1: {name} must be a whole number above 0, in digits alone",)


def test_no_role_is_the_folder_of_the_common_files(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError) as caught:
        bootstrap(tmp_path, "SERVER_ROLE=common")

    assert "and not `common`" in caught.value.details[0]
    assert bootstrap(tmp_path, "SERVER_ROLE=common-api").role == "common-api"


# --- any key at all


@given(key=KEYS)
def test_any_key_is_refused_or_becomes_a_path_below_the_folder_that_it_was_listed_for(key: str) -> None:
    services = Path("/opt/services")
    try:
        listing = found({f"{BASE}api/vars.yaml": b"", f"{BASE}api/{key}": b""})
    except BundleError:
        return

    for entry in listing.entries:
        place = services / entry.path
        assert place.is_relative_to(services / "api")
        assert place != services / "api"
        assert ".." not in place.parts
        assert "\0" not in entry.path
        assert all(len(part.encode()) <= 255 for part in place.parts)
        assert str(place) == f"{services}/{entry.path}"


@given(keys=st.lists(KEYS, max_size=6, unique=True))
def test_no_two_keys_of_a_bundle_want_the_same_place(keys: list[str]) -> None:
    try:
        listing = found({f"{BASE}api/vars.yaml": b"", **{f"{BASE}api/{key}": b"" for key in keys}})
    except BundleError:
        return
    places = [Path(entry.path) for entry in listing.entries]

    assert len(places) == len(set(places))
    assert not {parent for place in places for parent in place.parents} & set(places)
