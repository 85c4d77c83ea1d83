"""Text that looks like a secret in plain text. Finds places and kinds; never gives the text itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.dataclass import dataclass

_ACCESS_KEY = re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])")
_SECRET_KEY = re.compile(
    r"aws_?secret(?:_?access)?_?key[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/:@\"'<>]*):([^\s/@\"'<>]+)@")
# A key, and what may follow it. The value is not a part of the match, since it may hold a key itself.
_SETTING = re.compile(
    r"(?<![\w.$-])[\"']?(?P<key>[A-Za-z_][\w.-]*)[\"']?[ \t]*(?::=|[:=])[ \t]*"
    r"(?=\"(?P<double>[^\"\n]*)\"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s#\"',;}\]]+)|)"
)
_DEFAULT = re.compile(r"\$\{(?P<key>[A-Za-z_]\w*):?-(?P<value>[^}$\n]+)\}")

_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_SECRET_WORDS = frozenset("password passwd passphrase secret token apikey pwd pass".split())
_SECRET_KEYS = frozenset("api access secret private signing encryption master".split())
_REFERENCE = re.compile(r"\$\{|\{\{|\{\$|\{env\.|\$\(|%\(|%\{")
# What a value of these beginnings is instead: a reference, a path, a structure, an alias, a tag.
_NO_LITERAL = re.compile(r"[$<{\[(%*&!|>@/]|\.{1,2}/|\w+://|(?:file|env|arn|ssm|vault):")
_PLACEHOLDER = re.compile(
    r"change.?(?:me|it)|replace.?me|.*placeholder.*|.*example.*|x{3,}|\*+|\.{3}|-+|your[-_ ].*|todo|tbd|.*redacted.*"
    r"|dummy|fake|none|null|nil|~|true|false|yes|no|on|off|unset|empty|insert.*|required|optional|default|disabled|enabled",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDER_USERS = frozenset({"user", "username"})
_SHORTEST = 4


@dataclass(frozen=True)
class Suspect:
    """Something from `index` to `end` of the text that looks like a secret; `text` says what, without it."""

    index: int
    end: int
    text: str


def scan(text: str, *, settings: bool) -> Iterator[Suspect]:
    """What looks like a secret in `text`; with `settings`, also `password: literal` and its like."""
    reached = 0
    found = [*_by_shape(text), *(_settings(text) if settings else ())]
    # One secret may look like several: what begins first tells it.
    for suspect in sorted(found, key=lambda one: (one.index, -one.end)):
        if suspect.index >= reached:
            yield suspect
            reached = suspect.end


def _by_shape(text: str) -> Iterator[Suspect]:
    for match in _ACCESS_KEY.finditer(text):
        if not match[0].endswith("EXAMPLE"):
            yield Suspect(*match.span(), "what looks like an AWS access key id is here in plain text")
    for match in _SECRET_KEY.finditer(text):
        if not match[1].endswith("EXAMPLEKEY"):
            yield Suspect(*match.span(), "what looks like an AWS secret access key is here in plain text")
    for match in _PRIVATE_KEY.finditer(text):
        yield Suspect(*match.span(), "what looks like a private key is here in plain text")
    for match in _URL.finditer(text):
        if not _is_stand_in(match[2]) and match[1].lower() not in _PLACEHOLDER_USERS:
            yield Suspect(*match.span(), "what looks like a password in a URL is here in plain text")


def lines_of_secrets(text: str) -> frozenset[int]:
    """The lines, from 1, that set something which is named like a secret, whatever its value looks like."""
    found = [match.start() for match in _URL.finditer(text)]
    found += [match.start() for match in _SETTING.finditer(text) if is_named_like_a_secret(match["key"])]
    lines = text.split("\n")
    numbers: set[int] = set()
    for number in {text.count("\n", 0, index) for index in found}:
        numbers.add(number + 1)
        # A value may go on below, further to the right.
        for below in range(number + 1, len(lines)):
            if lines[below].strip() and _indent(lines[below]) <= _indent(lines[number]):
                break
            numbers.add(below + 1)
    return frozenset(numbers)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def is_named_like_a_secret(name: str) -> bool:
    """`DB_PASSWORD`, `clientSecret`, `api_key`; not `PASSWORD_FILE`, `SECRET_NAME`, `key`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    if words[-1] in ("pwd", "pass"):
        return len(words) > 1
    return words[-1] in _SECRET_WORDS or (words[-1] == "key" and len(words) > 1 and words[-2] in _SECRET_KEYS)


def looks_plain(name: str, value: str, *, sensitive: bool = False) -> bool:
    """Whether the value of something of this name looks like a secret in plain text."""
    if len(value) < _SHORTEST or _is_stand_in(value) or _NO_LITERAL.match(value):
        return False
    if value.isdigit() and name.lower().endswith("token"):
        return False  # how many tokens
    return sensitive or is_named_like_a_secret(name)


def _is_stand_in(value: str) -> bool:
    """A reference, or an obvious placeholder."""
    whole = re.fullmatch(r"\$\w+", value)
    return bool(whole or _REFERENCE.search(value) or _PLACEHOLDER.fullmatch(value))


def _settings(text: str) -> Iterator[Suspect]:
    for match in _SETTING.finditer(text):
        value = match["double"] or match["single"] or match["plain"] or ""
        if looks_plain(match["key"], value):
            end = match.end() + len(value)
            yield Suspect(match.start(), end, f"{match['key']} is set to what looks like a secret in plain text")
    for match in _DEFAULT.finditer(text):
        if looks_plain(match["key"], match["value"]):
            yield Suspect(*match.span(), f"the default of {match['key']} looks like a secret in plain text")
