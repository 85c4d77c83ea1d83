"""Fault cells: the metadata service, as a whole and request by request."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.lab.imds import FaultKind
from tests.lab.lab import Lab
from tests.lab_tests.fault_cell import FINE, LATE, Cell

_CREDENTIALS = "meta-data/iam/security-credentials/lab-role"
_DOCUMENT = "dynamic/instance-identity/document"
_ID = "meta-data/instance-id"

_REQUESTS = {
    "IMDS token": "PUT /latest/api/token",
    "IMDS role": "GET .*/iam/security-credentials/$",
    "IMDS credentials": f"GET .*/{_CREDENTIALS}$",
    "IMDS document": f"GET .*/{_DOCUMENT}$",
    "IMDS instance-id": f"GET .*/{_ID}$",
    "IMDS address": "GET .*/meta-data/local-ipv4$",
}


def service() -> Iterator[Cell]:
    """The service as a whole, and worlds that it should not tell of."""
    yield Cell("IMDS", "refused", LATE, lambda lab: lab.imds.stop())
    yield Cell("IMDS", "hang", LATE, lambda lab: lab.imds.mode("hang"))
    yield Cell("IMDS", "trickle", LATE, lambda lab: lab.imds.mode("trickle"))
    yield Cell("IMDS", "403", LATE, lambda lab: lab.imds.mode("forbidden"))
    yield Cell("IMDS", "503 x2 then ok", FINE, lambda lab: lab.imds.mode("unavailable:2"))
    yield Cell("IMDS", "503 always", LATE, lambda lab: lab.imds.mode("unavailable:9999"))
    yield Cell("IMDS role", "none attached", LATE, lambda lab: lab.imds.remove("meta-data/iam/security-credentials"))
    yield Cell("IMDS credentials", "code Failed", LATE, lambda lab: lab.imds.set(_CREDENTIALS, {"Code": "Failed"}))
    yield Cell("IMDS credentials", "no JSON", LATE, lambda lab: lab.imds.set(_CREDENTIALS, "<html>"))
    yield Cell("IMDS credentials", "fields missing", LATE, lambda lab: lab.imds.set(_CREDENTIALS, {"Code": "Success"}))
    yield Cell("IMDS document", "no JSON", LATE, lambda lab: lab.imds.set(_DOCUMENT, "<html>"))
    yield Cell("IMDS instance-id", "absent", FINE, lambda lab: lab.imds.remove(_ID))
    yield Cell("IMDS address", "absent", frozenset({66}), lambda lab: lab.imds.remove("meta-data/local-ipv4"))


def requests() -> Iterator[Cell]:
    """Each request, broken in each way."""
    for call, match in _REQUESTS.items():
        yield Cell(call, "reset once", FINE, _breaks(call, match, "reset"))
        yield Cell(call, "reset always", LATE, _breaks(call, match, "reset", times=None))
        yield Cell(call, "hang", LATE, _breaks(call, match, "hang", times=None))
        yield Cell(call, "trickle", LATE, _breaks(call, match, "trickle", times=None))
        yield Cell(call, "500 x2 then ok", FINE, _breaks(call, match, status=500, times=2))
        yield Cell(call, "500 always", LATE, _breaks(call, match, status=500, times=None))
        yield Cell(call, "429 x3 then ok", FINE, _breaks(call, match, status=429, times=3))
        yield Cell(call, "403", LATE, _breaks(call, match, status=403, times=None))
        yield Cell(call, "truncated once", FINE, _breaks(call, match, "truncate"))
        yield Cell(call, "truncated always", LATE, _breaks(call, match, "truncate", times=None))
        yield Cell(call, "401 always", LATE, _breaks(call, match, status=401, times=None))
        if call != "IMDS token":
            # The token has expired: another is asked for.
            yield Cell(call, "401 once", FINE, _breaks(call, match, status=401))


def _breaks(
    call: str, match: str, kind: FaultKind = "status", *, status: int = 0, times: int | None = 1
) -> Callable[[Lab], None]:
    def plant(lab: Lab) -> None:
        if call == "IMDS instance-id":
            # It is asked for only where the document does not tell it.
            lab.imds.remove(_DOCUMENT)
        lab.imds.add_fault(match, kind, status=status, times=times)

    return plant
