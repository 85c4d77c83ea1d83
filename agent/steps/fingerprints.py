"""Telling that a value changed without keeping it: an HMAC under a random key that never leaves this host.

Never a plain hash: a short password could be guessed from one. With a new key nothing is known of earlier values.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host import files
from agent.secret import Secret

KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """One fingerprint per variable, and which key they were made with (`key_id` does not tell the key)."""

    key_id: str
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How values differ from earlier ones, by name; `known` is false when there is nothing to compare with."""

    known: bool
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Every name that is known to differ."""
        return sorted((*self.added, *self.changed, *self.removed))

    @property
    def any(self) -> bool:
        """True when something is known to differ."""
        return bool(self.names)

    def of(self, name: str) -> str:
        """`new`, `changed`, `same`, or `unknown`, for one name that has a value now."""
        if not self.known:
            return "unknown"
        return "new" if name in self.added else "changed" if name in self.changed else "same"


def read_key(folder: Path) -> Secret | None:
    """The host's key, None when there is none yet."""
    path = folder / "fingerprint.key"
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HostError(f"reading {path}", f"{error}", "run it as root, or remove the file") from error
    if len(text) != 2 * KEY_BYTES:
        raise HostError(f"reading {path}", "it does not hold a key", "remove the file: a new one is made")
    return Secret(text)


def make_key(folder: Path) -> Secret:
    """The host's key; a new random one, 0600, when there is none yet or it cannot be read (design section 4)."""
    with contextlib.suppress(HostError):
        known = read_key(folder)
        if known is not None:
            return known
    text = secrets.token_hex(KEY_BYTES)
    files.make_folder(folder, 0o700)
    files.write(folder / "fingerprint.key", f"{text}\n".encode(), 0o600)
    return Secret(text)


def forget_key(folder: Path) -> None:
    """Remove the key: on another instance than the one that made it, it is nobody's."""
    with files.naming(f"removing {folder / 'fingerprint.key'}"):
        (folder / "fingerprint.key").unlink(missing_ok=True)


def take(key: Secret, values: Mapping[str, Secret]) -> Fingerprints:
    """The fingerprints of `values`. A name is part of its fingerprint: equal values are not seen to be equal."""
    made = {name: _digest(key, f"={name}={value.reveal()}") for name, value in sorted(values.items())}
    return Fingerprints(key_id=_digest(key, "key")[:16], values=made)


def _digest(key: Secret, text: str) -> str:
    return hmac.digest(bytes.fromhex(key.reveal()), text.encode("utf-8", "surrogateescape"), "sha256").hex()


def compare(before: Fingerprints | None, now: Fingerprints | None) -> Difference:
    """What changed between two sets; not known when one is absent or they were made with different keys."""
    if before is None or now is None or before.key_id != now.key_id:
        return Difference(known=False)
    names = before.values.keys() & now.values.keys()
    return Difference(
        known=True,
        added=tuple(sorted(now.values.keys() - names)),
        changed=tuple(sorted(name for name in names if before.values[name] != now.values[name])),
        removed=tuple(sorted(before.values.keys() - names)),
    )
