"""S3's part of the answers: listings, objects, ranges, conditions."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.bench.asked import S3_HOST, XML, Answer, Asked, error, refused
from tests.bench.worlds import Item
from tests.lab.aws_model import BUCKET

PAGE = 1000


class Bucket:
    """The one bucket that there is, under both styles of its name."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = items
        self._keys = sorted(items)

    def answer(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.target)
        path = unquote(parts.path).lstrip("/")
        if asked.host == S3_HOST:
            bucket, _, key = path.partition("/")
        else:
            bucket, key = asked.host.removesuffix(f".{S3_HOST}"), path
        if bucket != BUCKET or asked.method not in {"GET", "HEAD"}:
            return refused(asked)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if not key:
            return self._listing(query) if query.get("list-type") == "2" else refused(asked)
        if query.keys() - {"x-id", "partNumber"}:
            return refused(asked)
        return self._object(asked, key)

    def _listing(self, query: Mapping[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, most = query.get("continuation-token", query.get("start-after", "")), int(query.get("max-keys", PAGE))
        entries: dict[str, bool] = {}
        for key in self._keys:
            if not key.startswith(prefix):
                continue
            head, cut, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
            entry = prefix + head + cut if cut else key
            if entry > start:
                entries[entry] = bool(cut)
        page = list(entries)[: min(most, PAGE)]
        whole = len(page) == len(entries)
        coded = query.get("encoding-type") == "url"
        text = "".join(
            f"<CommonPrefixes><Prefix>{_key(name, coded)}</Prefix></CommonPrefixes>"
            if entries[name]
            else _contents(name, self._items[name], coded)
            for name in page
        )
        more = "" if whole or not page else f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        document = (
            f'{XML}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{BUCKET}</Name>'
            f"<Prefix>{_key(prefix, coded)}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{most}</MaxKeys>"
            f"{'<EncodingType>url</EncodingType>' if coded else ''}"
            f"<IsTruncated>{'false' if whole else 'true'}</IsTruncated>{more}{text}</ListBucketResult>"
        )
        return Answer("s3:ListObjectsV2", 200, (("Content-Type", "application/xml"),), document.encode())

    def _object(self, asked: Asked, key: str) -> Answer:
        operation = "s3:HeadObject" if asked.method == "HEAD" else "s3:GetObject"
        item = self._items.get(key)
        if item is None:
            return error(operation, "NoSuchKey", key, 404)
        if asked.if_match.strip('"') not in ("", item.etag):
            return error(operation, "PreconditionFailed", key, 412)
        headers = [
            ("ETag", f'"{item.etag}"'),
            ("Last-Modified", email.utils.formatdate(item.modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "binary/octet-stream"),
            ("x-amz-server-side-encryption", "AES256"),
        ]
        if asked.checksum_mode.upper() == "ENABLED" and not asked.range:
            kind = "COMPOSITE" if "-" in item.checksum else "FULL_OBJECT"
            headers += [("x-amz-checksum-crc32", item.checksum), ("x-amz-checksum-type", kind)]
        size = len(item.body)
        first, last = _range(asked.range, size)
        if asked.range:
            headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        body = memoryview(item.body)[first : last + 1]
        if asked.method == "HEAD":
            return Answer(operation, 200, tuple(headers), b"", len(body))
        return Answer(operation, 206 if asked.range else 200, tuple(headers), body)


def _key(text: str, coded: bool) -> str:  # noqa: FBT001 - what the request asked for
    return quote(text, safe="/") if coded else escape(text)


def _contents(key: str, item: Item, coded: bool) -> str:  # noqa: FBT001 - what the request asked for
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(item.modified))
    return (
        f"<Contents><Key>{_key(key, coded)}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>&quot;{item.etag}&quot;</ETag><Size>{len(item.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _range(text: str, size: int) -> tuple[int, int]:
    """First and last byte of `bytes=A-B`; of the whole when nothing is asked for."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first or 0), min(int(last) if last else size - 1, size - 1)
