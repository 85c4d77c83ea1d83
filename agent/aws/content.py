"""Whether an object's content is what was uploaded: its length, its ETag where that is an MD5, its checksums."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

# Part of a content as it comes: what hashes and files take.
Piece = bytes | bytearray

_PREFIX = "x-amz-checksum-"
_MD5_DIGITS = 32


class _Running(Protocol):
    def update(self, data: Piece, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """The standard library's, in the form of its hashes."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Piece, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_KINDS: Mapping[str, Callable[[], _Running]] = {
    "crc32": _Crc32,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


def is_plain(headers: Mapping[str, str]) -> bool:
    """Whether the answer (headers in lower case) is of an object that no key of KMS or the customer encrypts.

    Only then its ETag is an MD5. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    by_customer = "x-amz-server-side-encryption-customer-algorithm" in headers
    return headers.get("x-amz-server-side-encryption", "AES256") == "AES256" and not by_customer


def given(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksums of the whole content in an answer, by kind, as far as they are known here; as botocore does.

    One with a dash is of the checksums of an object's parts.
    """
    found = {kind: headers.get(f"{_PREFIX}{kind}", "-") for kind in _KINDS}
    return {kind: value for kind, value in found.items() if "-" not in value}


class Checks:
    """Hears the pieces of a content of `size` bytes and holds them against `etag` (empty: it is no MD5) and checksums.

    `checksums` are in base64, by kind. `received` counts bytes.
    """

    def __init__(self, size: int, etag: str, checksums: Mapping[str, str]) -> None:
        self.size = size
        self.received = 0
        wanted = {kind: base64.b64decode(text) for kind, text in checksums.items()}
        self._running: list[tuple[str, _Running, bytes]] = [
            (f"checksum ({kind})", _KINDS[kind](), value) for kind, value in wanted.items()
        ]
        if len(etag) == _MD5_DIGITS and "-" not in etag:
            self._running.append(("ETag", hashlib.md5(usedforsecurity=False), bytes.fromhex(etag)))

    @property
    def hashes(self) -> bool:
        """Whether the pieces are hashed, and not only counted."""
        return bool(self._running)

    def see(self, piece: Piece) -> None:
        """The next piece of the content."""
        self.received += len(piece)
        for _, running, _ in self._running:
            running.update(piece)

    def failed(self) -> str:
        """What the content does not match; empty when it is whole."""
        return next((name for name, running, value in self._running if running.digest() != value), "")
