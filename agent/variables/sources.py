"""Where a variable's value can come from, and what was found there, in rising rank (contract section 4).

bootstrap file -> SSM -> Secrets Manager -> external secret. A `source: local` variable has only the first. Nothing here
ever shows a value.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Collection
from dataclasses import field, replace

from agent.dataclass import dataclass
from agent.errors import AccessDenied
from agent.secret import Secret
from agent.steps.bootstrap import Bootstrap
from agent.variables import external, json_text
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.manifest_variable import ExternalField, Variable
from agent.variables.remote_index import NOT_AN_OBJECT, RemoteIndex, Value, as_secret

# What Linux takes for one `NAME=value` and the NUL behind it, in bytes (MAX_ARG_STRLEN, 32 pages of 4 KiB).
LONGEST = 131_072


class Source(enum.Enum):
    """Which kind of place a value came from."""

    BOOTSTRAP = "bootstrap"
    SSM = "ssm"
    SECRETS_MANAGER = "secrets-manager"
    EXTERNAL = "external-secret"
    DEFAULT = "default"
    TEMPLATE = "template"
    DETECTED = "detected"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One place that was looked at for one variable.

    `found` says in words what was there; `fault` that it can never be right, `clash` that it was given more than once;
    `denied` why nobody could look; `skipped` that nobody had to. `sought` and `among` are for the hint at a near name.
    """

    source: Source
    where: str
    found: str
    value: Secret | None = None
    sensitive: bool = False
    fault: bool = False
    clash: bool = False
    skipped: bool = False
    denied: tuple[AccessDenied, ...] = field(default=(), repr=False)
    sought: str = field(default="", repr=False)
    among: Collection[str] = field(default=(), repr=False)

    @property
    def text(self) -> str:
        """Place and finding, for people; made when it is asked for, since near names take time to find."""
        near = difflib.get_close_matches(self.sought, list(self.among), n=1, cutoff=0.8) if self.sought else []
        return f"{self.where}: {self.found}" + (f" (there is {near[0]})" if near else "")


class Sources:
    """All places of one resolution. `faults` are secrets that are not what they must be."""

    def __init__(self, manifest: Manifest, bootstrap: Bootstrap, lookups: Lookups) -> None:
        self.index = RemoteIndex(lookups.parameters, lookups.secrets)
        self.faults = tuple(self.index.faults)
        self._manifest = manifest
        self._bootstrap = bootstrap
        self._lookups = lookups
        denied = tuple(answer.denied for answer in lookups.secrets if answer.denied)
        # The list alone may be denied (contract section 1: then the usual secret is all there is).
        self._secrets_denied = (*denied, lookups.list_denied) if denied and lookups.list_denied else denied

    def look(self, variable: Variable) -> tuple[Look, ...]:
        """Every place for this variable, the one that wins over all others last."""
        looks = [self._in_bootstrap(variable.name)]
        if not variable.local:
            looks += [self._in_ssm(variable.name), self._in_secrets(variable.name)]
            if variable.secret:
                looks.append(self._in_external(variable.name, variable.secret))
        return tuple(looks)

    def _in_bootstrap(self, name: str) -> Look:
        value = self._bootstrap.variables.get(name)
        where = "bootstrap file"
        if value is None:
            return _nothing(Source.BOOTSTRAP, where, name, self._bootstrap.variables)
        if not value:
            return Look(source=Source.BOOTSTRAP, where=where, found="empty")
        return Look(source=Source.BOOTSTRAP, where=where, found="found", value=Secret(value))

    def _in_ssm(self, name: str) -> Look:
        path, index = self._lookups.path, self.index.parameters
        denied = (self._lookups.parameters_denied,) if self._lookups.parameters_denied else ()
        nothing = _nothing(Source.SSM, f"SSM {path}{name}", name, index)
        if not index:
            nothing = replace(nothing, found=f"absent (0 parameters under {path})")
        return _one(name, index.get(name, []), nothing, denied)

    def _in_secrets(self, name: str) -> Look:
        index = self.index.secrets
        nothing = _nothing(Source.SECRETS_MANAGER, f"Secrets Manager {self._lookups.prefix}*", name, index)
        if self._lookups.list_denied:
            nothing = replace(nothing, found="absent (ListSecrets is denied: only the usual secret was read)")
        if deleted := [answer.asked for answer in self._lookups.secrets if answer.deleted]:
            nothing = replace(nothing, found=f"{nothing.found} ({', '.join(deleted)}: marked for deletion)")
        if unlisted := [answer.asked for answer in self._lookups.secrets if answer.unlisted]:
            nothing = replace(nothing, found=f"{nothing.found} ({', '.join(unlisted)}: not in the list, and denied)")
        # A key that is null or empty in one secret does not clash with the same key in another.
        values = index.get(name, [])
        return _one(name, [value for value in values if not value.empty] or values[:1], nothing, self._secrets_denied)

    def _in_external(self, name: str, wanted: ExternalField) -> Look:
        where = f"external secret of {wanted.arn_from}" + (f", key {wanted.key}" if wanted.key else "")
        asked = external.id_of(wanted.arn_from, self._manifest, self._bootstrap, self.index)
        if asked is None:
            found = f"not looked for, since {wanted.arn_from} has no value"
            return Look(source=Source.EXTERNAL, where=where, found=found, skipped=True)
        if not external.can_be_asked(asked):
            found = f"cannot be asked for: the ARN in {wanted.arn_from} has no region such as eu-central-1"
            return Look(source=Source.EXTERNAL, where=where, found=found, fault=True)
        answer = self._lookups.externals.get(asked)
        if answer is None or answer.denied:
            denied = (answer.denied,) if answer and answer.denied else ()
            return Look(source=Source.EXTERNAL, where=where, found="access denied", denied=denied)
        if answer.text is None:
            found = "marked for deletion" if answer.deleted else "no such secret"
            return Look(source=Source.EXTERNAL, where=where, found=found)
        return _field_of(name, wanted, answer.text, where)


def _field_of(name: str, wanted: ExternalField, text: Secret, where: str) -> Look:
    """What one external secret gives the variable for `secret: {type, key}`."""
    nothing = Look(source=Source.EXTERNAL, where=where, found="absent")
    if wanted.key is None:
        return _one(name, [Value(text, where, secure=True)], nothing, ())
    fields = json_text.parse_object(text.reveal())
    if fields is None:
        return replace(nothing, found=NOT_AN_OBJECT, fault=True)
    if wanted.key not in fields:
        return replace(nothing, found="has no such key", sought=wanted.key, among=tuple(fields))
    return _one(name, [Value(as_secret(fields[wanted.key]), where, secure=True)], nothing, ())


def _nothing(source: Source, where: str, name: str, among: Collection[str]) -> Look:
    return Look(source=source, where=where, found="absent", sought=name, among=among)


def _one(name: str, values: list[Value], nothing: Look, denied: tuple[AccessDenied, ...]) -> Look:
    """The look for what the variable is given: a value, `nothing`, or a fault when there is more than one."""
    if not values:
        return replace(nothing, found="access denied", sought="", denied=denied) if denied else nothing
    if len(values) > 1:
        places = " and ".join(value.where for value in values)
        return replace(nothing, found=f"given more than once: {places}", sought="", fault=True, clash=True)
    value = values[0]
    look = replace(nothing, where=value.where, sought="")
    fault = fault_of(name, value.text) if value.text else ""
    if fault:
        return replace(look, found=fault, fault=True)
    if value.empty:
        return replace(look, found="null" if value.text is None else "empty", denied=denied)
    return replace(look, found="found", value=value.text, sensitive=value.secure)


def fault_of(name: str, value: Secret) -> str:
    """Why no environment can carry the variable with this value, empty when one can; never a part of the value."""
    text = value.reveal()
    if "\0" in text:
        return "holds a NUL character, which no environment can carry"
    try:
        size = len(f"{name}={text}\0".encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return "holds half of a surrogate pair (\\uD800 to \\uDFFF), which is no text"
    if size > LONGEST:
        return f"is too long: {size} bytes with its name, and no environment can carry more than {LONGEST}"
    return ""
