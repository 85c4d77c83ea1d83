"""Fault cells: the registry, its host, and the manifests and layers that it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.lab.aws_model import REGISTRY
from tests.lab.lab import Lab
from tests.lab.pki import BAD
from tests.lab.registry_door import RegistryFault
from tests.lab_tests.fault_cell import DENIED, FINE, INVALID, LATE, Cell, points_at

# The engine, a Go program, remembers what /etc/hosts says.
_REMEMBERED_SECONDS = 5.5


def host() -> Iterator[Cell]:
    """The registry's host."""
    call = "host of the registry"
    yield Cell(call, "refused", LATE, lambda lab: lab.registry.stop())
    yield Cell(call, "no route", LATE, _after_a_while(points_at(REGISTRY, "10.255.255.9")))
    yield Cell(call, "no such name", LATE, _after_a_while(points_at(REGISTRY, None)))
    for kind in BAD:
        yield Cell(call, f"certificate: {kind}", LATE, _spoils(kind))


def _after_a_while(plant: Callable[[Lab], None]) -> Callable[[Lab], None]:
    def planted(lab: Lab) -> None:
        plant(lab)
        time.sleep(_REMEMBERED_SECONDS)

    return planted


def mend(lab: Lab, hosts: str) -> None:
    """Make the machine's /etc/hosts as it was; where the registry was hidden, wait until the engine sees it again."""
    path = lab.machine.path("/etc/hosts")
    was_hidden = _lines_of_the_registry(path.read_text()) != _lines_of_the_registry(hosts)
    path.write_text(hosts)
    if was_hidden:
        time.sleep(_REMEMBERED_SECONDS)


def _lines_of_the_registry(hosts: str) -> list[str]:
    return [line for line in hosts.splitlines() if REGISTRY in line]


def _spoils(kind: str) -> Callable[[Lab], None]:
    def plant(lab: Lab) -> None:
        lab.registry.watch()
        lab.pki.spoil(REGISTRY, kind)

    return plant


def requests() -> Iterator[Cell]:
    """What the engine asks of it."""
    for call, match in (("registry manifest", "(GET|HEAD) .*/manifests/"), ("registry blob", "GET .*/blobs/")):
        yield _cell(call, "reset once", FINE, RegistryFault(match))
        yield _cell(call, "reset always", LATE, RegistryFault(match, times=None))
        yield _cell(call, "hang", LATE, RegistryFault(match, kind="hang", times=None))
        yield _cell(call, "trickle", LATE, RegistryFault(match, kind="trickle", times=None))
        yield _cell(call, "truncated once", FINE, RegistryFault(match, kind="truncate"))
        yield _cell(call, "truncated always", LATE, RegistryFault(match, kind="truncate", times=None))
        yield _cell(call, "500 once", FINE, RegistryFault(match, status=500))
        yield _cell(call, "500 always", LATE, RegistryFault(match, status=500, times=None))
        quota = RegistryFault(match, status=429, code="TOOMANYREQUESTS", message="Rate exceeded", times=2)
        yield _cell(call, "429 x2 then ok", FINE, quota)
        for code, status in (("UNAUTHORIZED", 401), ("DENIED", 403)):
            yield _cell(call, f"{status} always", DENIED, RegistryFault(match, status=status, code=code, times=None))
    unknown = RegistryFault("/manifests/", status=404, code="MANIFEST_UNKNOWN", message="manifest unknown", times=None)
    yield _cell("registry manifest", "404", INVALID, unknown)
    yield _cell("registry blob", "wrong digest once", FINE, RegistryFault("GET .*/blobs/", kind="corrupt"))
    yield _cell(
        "registry blob", "wrong digest always", INVALID, RegistryFault("GET .*/blobs/", kind="corrupt", times=None)
    )


def _cell(call: str, fault: str, codes: frozenset[int], what: RegistryFault) -> Cell:
    return Cell(call, fault, codes, lambda lab: lab.registry.add_fault(what))
