"""The account that an access key belongs to, read from the key's id, without asking anybody.

The ids that AWS has given out since 2019 hold the account's number in base32, as `sts get-access-key-info` tells it.
It is not documented, so an id that does not look like one of these has no account, and never a wrong one.
"""

from __future__ import annotations

import base64
import binascii
import re

_ID = re.compile(r"(AKIA|ASIA)[A-Z2-7]{16}")
_MARK = 1 << 47
_BITS = 0x7FFFFFFFFF80
_LARGEST = 10**12


def account_of(key_id: str) -> str | None:
    """Twelve digits, or None when the id does not hold them (an older key, or no key of AWS)."""
    if not _ID.fullmatch(key_id):
        return None
    try:
        number = int.from_bytes(base64.b32decode(key_id[4:])[:6], "big")
    except binascii.Error:
        return None
    account = (number & _BITS) >> 7
    # Older ids have no mark, and nothing in them is a number of an account.
    return f"{account:012d}" if number & _MARK and account < _LARGEST else None
