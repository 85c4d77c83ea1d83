"""A support bundle: texts about a host in one archive, none of which holds a secret that is known here.

Every text is cleaned, then looked through again for each secret in every form; one that still holds some is left out
and named. `proof.txt` in the archive says what was looked for.
"""

from __future__ import annotations

import base64
import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

from agent.dataclass import dataclass
from agent.report.words import amount
from agent.secret import REDACTED, Redactor, Secret

FOLDER = "delphi-agent-support"
PROOF = "proof.txt"
# Of each text the end is kept.
MOST_CHARACTERS = 1 << 20

# What is a secret by its looks, whether it is known or not.
_BY_LOOKS = (
    re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [^-\n]*-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^\s/:@\"'<>]*:[^\s/@\"'<>]+(?=@)"),
    re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{16,}"),
)


@dataclass(frozen=True)
class Member:
    """One text of the bundle."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """The members as they go into the archive, the proof first, and what was left out."""

    members: tuple[Member, ...]
    left_out: tuple[str, ...]


class Scanner:
    """Knows secrets by name, and every form in which their text may be found."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._redactor = Redactor()
        self._redactor.learn(secrets.values())
        known = {name: item.reveal() for name, item in secrets.items()}
        # Shorter ones are in half of all words (see Redactor).
        self.names = tuple(sorted(name for name, text in known.items() if len(text) >= Redactor.MINIMUM))
        forms = {form for name in self.names for form in _more_forms(known[name])}
        self._more = tuple(sorted(forms, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """The text without any secret that is known, and without what looks like one."""
        for pattern in _BY_LOOKS:
            text = pattern.sub(REDACTED, text)
        text = self._redactor.clean(text)
        for form in self._more:
            text = text.replace(form, REDACTED)
        return text

    def finds(self, text: str) -> bool:
        """Whether the text holds a form of a known secret."""
        return self._redactor.clean(text) != text or any(form in text for form in self._more)


def _more_forms(text: str) -> Iterator[str]:
    """Beside those that a redactor knows: hexadecimal, and base64 of a text in which the secret begins anywhere."""
    raw = text.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        # The characters at both ends depend on what is beside it.
        inner = encoded[4 if before else 0 :].rstrip(b"=")[:-1].decode()
        if len(inner) >= Redactor.MINIMUM:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def seal(collected: Iterable[Member], scanner: Scanner, remarks: Sequence[str]) -> Sealed:
    """Clean every text, look through each again, leave out what still holds a secret, and write the proof.

    `remarks` say where the known secrets are from.
    """
    kept: list[Member] = []
    cleaned: list[str] = []
    left_out: list[str] = []
    for member in collected:
        text = scanner.clean(member.text[-MOST_CHARACTERS:])
        # What was taken out may leave two halves of something else.
        text = scanner.clean(text) if scanner.finds(text) else text
        if scanner.finds(text) or scanner.finds(member.name):
            left_out.append(member.name)
            continue
        cleaned += [member.name] if text != member.text[-MOST_CHARACTERS:] else []
        kept.append(Member(member.name, text))
    lines = [
        *remarks,
        f"looked for {amount(len(scanner.names), 'secret')} in every text: plain, by line, base64, URL, JSON, hex",
        f"known by name: {', '.join(scanner.names) or 'none'}",
        f"something was taken out of: {', '.join(cleaned) or 'nothing'}",
        f"left out, since a secret could not be taken out: {', '.join(left_out) or 'nothing'}",
        f"found in the {amount(len(kept), 'text')} of this archive: no secret that is known",
        "secrets that are not known here (what a container made up itself) cannot be looked for",
    ]
    proof = Member(PROOF, "".join(f"{line}\n" for line in lines))
    if scanner.finds(proof.text):
        proof = Member(PROOF, scanner.clean(proof.text))
    return Sealed(members=(proof, *kept), left_out=tuple(left_out))


def archive(members: Iterable[Member], time: float) -> bytes:
    """A tar.gz of the members in one folder, each 0600."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            data = member.text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"{FOLDER}/{member.name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
