"""How far this host's clock is from AWS's, by the time that AWS writes on each answer."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Mapping
from typing import Any

# AWS takes signatures that are five minutes old (S3: fifteen).
TOLERATED_SECONDS = 300.0


def skew(response: Mapping[str, Any], now: dt.datetime) -> float | None:
    """Seconds that this host is ahead of AWS (negative: behind); None when the answer (of the SDK) has no time."""
    written = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        there = email.utils.parsedate_to_datetime(written)
    except ValueError:
        return None
    return (now - (there if there.tzinfo else there.replace(tzinfo=dt.UTC))).total_seconds()


def in_words(seconds: float) -> str:
    """`12 min 3 s behind AWS`."""
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return f"{' '.join(parts) or '0 s'} {'ahead of' if seconds > 0 else 'behind'} AWS"
