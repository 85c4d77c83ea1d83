"""A run's credentials in the form in which the SDK holds them, renewed by it when they expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.aws.session import Credentials


def held(credentials: Credentials) -> object:
    """The first keys are fetched now."""
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
