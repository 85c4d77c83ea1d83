"""Finding the bundle: the slug, the listing, and that a key becomes a path below /opt/services or nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BundleError, BundleMissing
from agent.steps.bundle import Listing, find
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


def test_markers_of_folders_are_no_files() -> None:
    assert len(found({**GOOD, f"{BASE}api/": b"", f"{BASE}api/tls/": b"", f"{BASE}common/": b""}).entries) == 3


def test_every_key_that_cannot_be_placed_is_told_at_once() -> None:
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
    assert "both a file and a folder" in error.details[-1]
    assert all("\n" not in detail for detail in error.details)


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
