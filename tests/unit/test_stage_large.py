"""Staging many objects and a large one: in memory that does not grow with them. DELPHI_LONG=1: the real sizes."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.unit import children

LONG = os.environ.get("DELPHI_LONG") == "1"
MANY = 10_000 if LONG else 1_000
LARGE = 1 << 30 if LONG else 64 << 20
MIB = 1 << 20
PREFIX = "deployments/acme/main/api/"

CHILD = """
    import json, re, sys, time
    from pathlib import Path
    from agent.aws.s3 import ConfigBucket
    from agent.aws.credentials import Credentials, Keys
    from agent.aws.session import AwsSession
    from agent.host.clock import Deadline, SystemClock
    from agent.host.paths import Paths
    from agent.host.proxy import Proxies
    from agent.secret import Secret
    from agent.steps import bundle
    from agent.steps.stage import stage

    url, root = sys.argv[1:]
    keys = Keys(Secret("AKIAEXAMPLE"), Secret("x"))
    credentials = Credentials(source="test", fetch=lambda: keys)
    session = AwsSession("eu-central-1", credentials, Proxies(), {"AWS_ENDPOINT_URL": url})
    bucket, paths = ConfigBucket(session.s3(), "delphi-config"), Paths(Path(root))

    def peak():
        # Not ru_maxrss: that begins with what the process had that forked this one.
        return int(re.search(r"VmHWM:[ \t]*([0-9]+)", open("/proc/self/status").read())[1]) << 10

    def staged(applied):
        began = time.monotonic()
        deadline = Deadline.after(SystemClock(), 300)
        listing = bundle.find(bucket, "acme", "main", "api")
        made = stage(listing, bucket, paths, applied=applied, deadline=deadline, tell=lambda _, __: None)
        return made, time.monotonic() - began

    bucket.holds("deployments/")
    before = peak()
    first, seconds = staged({})
    for path in first.files:
        (paths.services / path).parent.mkdir(parents=True, exist_ok=True)
        (first.folder / path).replace(paths.services / path)
    after = peak()
    again, again_seconds = staged(dict(first.files))
    print(json.dumps({
        "fetched": first.fetched, "received": first.received, "again": again.fetched, "peak": peak(),
        "growth": after - before, "seconds": seconds, "again_seconds": again_seconds,
    }))
"""


class Zeros(http.server.BaseHTTPRequestHandler):
    """Objects of nothing but zeros, made while they are sent."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent one by one
    sizes: Mapping[str, int]

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if query.get("list-type") == "2":
            body = self._listing(query)
            self._head(len(body), "text/xml")
            self.wfile.write(body)
            return
        left = self.sizes[urllib.parse.unquote(url.path).removeprefix("/delphi-config/")]
        self._head(left, "binary/octet-stream")
        piece = bytes(MIB)
        while left:
            left -= self.wfile.write(piece[: min(left, MIB)])

    def _head(self, length: int, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _listing(self, query: Mapping[str, str]) -> bytes:
        keys = [key for key in self.sizes if key.startswith(query["prefix"])]
        start = int(query.get("continuation-token", "0"))
        # An ETag of an upload in parts: that of a file of a GiB is never the MD5 of its content.
        items = "".join(
            f'<Contents><Key>{key}</Key><Size>{self.sizes[key]}</Size><ETag>"{"0" * 32}-2"</ETag></Contents>'
            for key in keys[start : start + 1000]
        )
        more = start + 1000 < len(keys)
        token = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{truncated}{token}{items}</ListBucketResult>".encode()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextlib.contextmanager
def serving(sizes: Mapping[str, int]) -> Iterator[str]:
    handler = type("Handler", (Zeros,), {"sizes": sizes})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def staged(sizes: Mapping[str, int], root: Path) -> dict[str, float]:
    with serving({f"{PREFIX}{name}": size for name, size in sizes.items()}) as url:
        ended = children.python(CHILD, arguments=[url, str(root)])
    report: dict[str, float] = json.loads(ended.out)
    return report


@pytest.mark.slow
def test_many_objects_take_bounded_memory_and_are_not_fetched_again(tmp_path: Path) -> None:
    report = staged({f"folder{number % 97}/file{number:05}": number % 700 for number in range(MANY)}, tmp_path)

    assert (report["fetched"], report["again"]) == (MANY, 0)
    assert report["peak"] < 150 * MIB, report
    assert len(list((tmp_path / "opt/services/api").rglob("file*"))) == MANY


def test_a_large_object_goes_to_the_disk_piece_by_piece(tmp_path: Path) -> None:
    report = staged({"vars.yaml": 10, "large.bin": LARGE}, tmp_path)

    large = tmp_path / "opt/services/api/large.bin"
    try:
        assert (large.stat().st_size, report["received"]) == (LARGE, LARGE + 10)
        assert report["growth"] < 64 * MIB, report
        assert report["again"] == 0
    finally:
        large.unlink()
