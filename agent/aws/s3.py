"""Objects of the config bucket. S3 is asked as little as it can be: one listing, one GET per object, no HEAD."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.aws.attempts import until_read
from agent.aws.behind import behind
from agent.aws.content import Checks, Piece, given, is_plain
from agent.aws.failures import calling, code_of, translate
from agent.dataclass import dataclass
from agent.errors import AgentError, AwsError, BundleError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from agent.aws.direct import DirectReads, Opened

T = TypeVar("T")
_Stream = Callable[["RemoteObject", str], Iterator[Piece]]

_CHUNK = 256 << 10
# How often an object is fetched whose body breaks.
BODY_ATTEMPTS = 3


# What S3 answers when an object is not what the listing said; the figures when the answer has no body.
_MOVES = {"PreconditionFailed": "replaced", "412": "replaced", "NoSuchKey": "removed", "404": "removed"}


class BundleMoved(AwsError):
    """An object is not what the listing said: to list again and start over may help."""


@dataclass(frozen=True)
class RemoteObject:
    """One object as the listing shows it; `etag` without its quotes."""

    key: str
    size: int
    etag: str


class ConfigBucket:
    """The bucket that holds the bundles."""

    def __init__(self, client: S3Client, name: str, direct: DirectReads | None = None) -> None:
        self._client = client
        self._direct = direct
        self.name = name

    def listing(self, prefix: str) -> Iterator[RemoteObject]:
        """Every object below `prefix`, in the order of their keys; a page is asked for when the one before is used up.

        The SDK asks for keys in URL encoding, so that any character arrives (XML has none for most control characters).
        """
        for page in self._pages(prefix, ""):
            for item in page.get("Contents", ()):
                yield RemoteObject(item["Key"], item["Size"], item["ETag"].strip('"'))

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix` that hold something, without slashes."""
        return [
            item["Prefix"].removeprefix(prefix).rstrip("/")
            for page in self._pages(prefix, "/")
            for item in page.get("CommonPrefixes", ())
        ]

    def holds(self, prefix: str) -> bool:
        """True when at least one object is below `prefix`."""
        with calling(f"listing s3://{self.name}/{prefix}", "s3:ListBucket", f"arn:aws:s3:::{self.name}"):
            answer = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=1)
        return bool(answer.get("Contents"))

    def _pages(self, prefix: str, delimiter: str) -> Iterator[Any]:
        with calling(f"listing s3://{self.name}/{prefix}", "s3:ListBucket", f"arn:aws:s3:::{self.name}"):
            yield from self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter=delimiter
            )

    def read(self, item: RemoteObject) -> bytes:
        """The object's whole content; for small ones. It comes by the SDK's connection, which is open."""
        return self._whole(item, b"".join, self._by_the_sdk)

    def download(self, item: RemoteObject, path: Path) -> str:
        """Write the object to the new file `path`, in pieces; returns the content's sha256 in hex.

        A file that is there already is an error: it might be another name of a live one.
        """

        def save(pieces: Iterator[Piece]) -> str:
            digest = hashlib.sha256()
            with path.open("xb") as file, behind(digest.update, item.size) as hear:
                try:
                    for piece in pieces:
                        hear(piece)
                        file.write(piece)
                except BaseException:
                    path.unlink()
                    raise
            return digest.hexdigest()

        return self._whole(item, save, self._by_either)

    def _whole(self, item: RemoteObject, use: Callable[[Iterator[Piece]], T], stream: _Stream) -> T:
        """What `use` makes of the content. botocore tries again until an answer begins; a body that breaks is our part.

        `BundleError` when it stays damaged, `AwsError` when it stays cut off.
        """
        for left in reversed(range(BODY_ATTEMPTS)):
            try:
                return use(stream(item, f"reading s3://{self.name}/{item.key}"))
            except _BrokenBodyError as broken:
                if not left:
                    raise broken.error from broken
        raise AssertionError("not reached: the last attempt returns or raises")

    def _by_either(self, item: RemoteObject, doing: str) -> Iterator[Piece]:
        """The content as the listing showed it (`If-Match`); length and checksum are verified at the end."""
        if self._direct is not None:
            opened = self._direct.open(self.name, item.key, item.etag)
            if opened is not None:
                yield from self._past_the_sdk(item, doing, opened, self._direct)
                return
        yield from self._by_the_sdk(item, doing)

    def _past_the_sdk(self, item: RemoteObject, doing: str, opened: Opened, direct: DirectReads) -> Iterator[Piece]:
        checks = Checks(item.size, item.etag if is_plain(opened.headers) else "", given(opened.headers))
        try:
            with behind(checks.see, item.size if checks.hashes else 0) as see:
                for piece in opened.body:
                    see(piece)
                    yield piece
            _expect_whole(checks, doing)
        except (OSError, _BrokenBodyError) as error:
            direct.give_up()
            if isinstance(error, _BrokenBodyError):
                raise
            raise _BrokenBodyError(AwsError(doing, f"the connection broke: {error}", "run it again")) from error

    def _by_the_sdk(self, item: RemoteObject, doing: str) -> Iterator[Piece]:
        from botocore.exceptions import BotoCoreError, FlexibleChecksumError
        from urllib3.exceptions import HTTPError

        # A statement for this one object would only lead to the next refusal: one for all of the deployment's.
        top = "/".join(item.key.split("/")[:2])
        resource = f"arn:aws:s3:::{self.name}/{top}/*"
        with calling(doing, "s3:GetObject", resource), _noticing_a_move(doing):
            answer = self._client.get_object(Bucket=self.name, Key=item.key, IfMatch=f'"{item.etag}"')
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        # botocore checks the object's own checksum, when it has one, while the body is read.
        checks = Checks(item.size, item.etag if is_plain(headers) else "", {})
        try:
            with behind(checks.see, item.size if checks.hashes else 0) as see:
                for piece in until_read(answer["Body"].iter_chunks(_CHUNK)):
                    see(piece)
                    yield piece
        except FlexibleChecksumError as error:
            raise _BrokenBodyError(_damaged(doing, "the content does not match its checksum")) from error
        except BotoCoreError as error:
            raise _BrokenBodyError(translate(error, doing, "s3:GetObject", resource)) from error
        except HTTPError as error:
            # botocore translates two of them: a fault of TLS in the middle of a body comes as it is.
            raise _BrokenBodyError(AwsError(doing, f"the connection broke: {error}", "run it again")) from error
        _expect_whole(checks, doing)


@contextmanager
def _noticing_a_move(doing: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        what = _MOVES.get(code_of(error))
        if what is None:
            raise
        raise BundleMoved(
            doing,
            f"it was {what} after it had been listed ({code_of(error)})",
            "the bundle is being uploaded right now: run it again when the upload is done",
        ) from error


class _BrokenBodyError(Exception):
    """A body that was cut off or damaged on its way; `error` is what to raise when it stays so."""

    def __init__(self, error: AgentError) -> None:
        super().__init__(str(error))
        self.error = error


def _damaged(doing: str, cause: str) -> BundleError:
    return BundleError(doing, cause, "upload the object again; when that does not help, look at what is in between")


def _expect_whole(checks: Checks, doing: str) -> None:
    """Raise `_BrokenBodyError` for a content of another length than the listing said, or that fails a check."""
    if checks.received != checks.size:
        cause = f"{checks.received} bytes came, the listing says {checks.size}"
        raise _BrokenBodyError(AwsError(doing, cause, "run it again"))
    failed = checks.failed()
    if failed:
        raise _BrokenBodyError(_damaged(doing, f"the content does not match its {failed}"))
