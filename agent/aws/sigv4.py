"""Signatures of GETs of S3, as AWS's Signature Version 4 has them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. The tests hold it against
botocore, which takes ten times as long for the same: it is made for any request of any service.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from agent.dataclass import dataclass
from agent.secret import Secret

_NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True)
class SigningKeys:
    """Keys, and the region in which the bucket is."""

    region: str
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    _made: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def key(self, day: str) -> bytes:
        """The key of one day (`20261121`): all requests of that day are signed with it."""
        if day not in self._made:
            key = f"AWS4{self.secret_access_key.reveal()}".encode()
            for part in (day, self.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._made[day] = key
        return self._made[day]


class _Frozen(Protocol):
    """Keys as the SDK has them at one time."""

    access_key: str
    secret_key: str
    token: str | None


class _Held(Protocol):
    """Credentials of the SDK's; its own stubs let every key be None, which a run's never are."""

    def get_frozen_credentials(self) -> _Frozen: ...


class HeldKeys:
    """The SDK's credentials of a session, whatever they are at the time: those of a role are renewed."""

    def __init__(self, held: _Held) -> None:
        self._held = held
        self._made: tuple[object, SigningKeys] | None = None

    def of(self, region: str) -> SigningKeys:
        """Those to sign with now."""
        now = self._held.get_frozen_credentials()
        made = self._made
        if made is None or made[0] != (now, region):
            keys = SigningKeys(
                region=region,
                access_key_id=now.access_key,
                secret_access_key=Secret(now.secret_key),
                session_token=Secret(now.token) if now.token else None,
            )
            made = self._made = ((now, region), keys)
        return made[1]


def quoted(key: str) -> str:
    """An object's key as it stands in a URL, and in what is signed."""
    return urllib.parse.quote(key, safe="/~")


def signed(keys: SigningKeys, path: str, headers: Mapping[str, str], now: dt.datetime) -> dict[str, str]:
    """The headers of a GET of `path` (quoted), with the signature; `headers` are lower case, `host` among them."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
    every = {**headers, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
    if keys.session_token is not None:
        every["x-amz-security-token"] = keys.session_token.reveal()
    names = sorted(every)
    lines = "".join(f"{name}:{every[name]}\n" for name in names)
    request = f"GET\n{path}\n\n{lines}\n{';'.join(names)}\n{_NO_BODY}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(keys.key(stamp[:8]), text.encode(), "sha256").hex()
    every["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}, SignedHeaders={';'.join(names)},"
        f" Signature={signature}"
    )
    return every
