"""A run's credentials: where its keys come from, and the form in which the SDK holds them and renews them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

from agent.dataclass import dataclass
from agent.secret import Secret


@dataclass(frozen=True)
class Keys:
    """One set of credentials; `expires` (ISO 8601) when they are temporary."""

    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None = None
    expires: str | None = None


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Where the keys come from; `fetch` is called for the first and again before they expire.

    `fetch` raises only `AgentError`: in the middle of a run it is called from within a call of the SDK. `account` is
    the account that they belong to, where their source says it.
    """

    source: str
    fetch: Callable[[], Keys] = field(repr=False)
    account: str | None = None


def held(credentials: Credentials) -> object:
    """The credentials as botocore holds them; the first keys are fetched now."""
    import botocore.credentials

    def fetch() -> dict[str, str | None]:
        keys = credentials.fetch()
        return {
            "access_key": keys.access_key_id.reveal(),
            "secret_key": keys.secret_access_key.reveal(),
            "token": keys.session_token.reveal() if keys.session_token else None,
            "expiry_time": keys.expires,
        }

    first = fetch()
    core: Any = botocore.credentials
    if first["expiry_time"] is None:
        return core.Credentials(first["access_key"], first["secret_key"], first["token"], method=credentials.source)
    return core.RefreshableCredentials.create_from_metadata(first, fetch, method=credentials.source)
