"""Asks AWS for the values that the manifest may need: as little as possible, as much at once as possible.

Side by side: the pages of SSM; the list of secrets, and then all secrets in the fewest batches. No call when every
variable is `source: local`; no external secret that no variable takes from. A refused source is noted, not raised:
whether it matters is for `resolve` to say. (Contract sections 1 and 4.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Protocol, TypeVar

from agent.aws.parameters import Parameter
from agent.aws.secrets import BATCH, Answer
from agent.dataclass import dataclass
from agent.errors import AccessDenied
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.steps.bootstrap import Bootstrap
from agent.variables import external
from agent.variables.manifest import Manifest
from agent.variables.remote_index import RemoteIndex

# Calls at once when secrets must be read one by one.
LANES = 8

T = TypeVar("T")


class ParameterReader(Protocol):
    """What this step needs of SSM."""

    def under(self, path: str) -> Sequence[Parameter]:
        """Every parameter below `path`, decrypted. Raises `AccessDenied`."""


class SecretReader(Protocol):
    """What this step needs of Secrets Manager in one region."""

    def names(self, prefix: str) -> Sequence[str]:
        """The names that start with `prefix`. Raises `AccessDenied`."""

    def batch(self, ids: Sequence[str]) -> Sequence[Answer]:
        """One answer for each of at most 20 ids. Raises `AccessDenied` when batches as such are denied."""

    def one(self, asked: str) -> Answer:
        """The answer for one id."""


@dataclass(frozen=True, kw_only=True)
class Lookups:
    """What AWS gave: nothing is interpreted yet. `secrets` are those below `prefix`, `externals` go by id (ARN)."""

    asked: bool = False
    path: str = ""
    prefix: str = ""
    parameters: tuple[Parameter, ...] = ()
    secrets: tuple[Answer, ...] = ()
    externals: Mapping[str, Answer] = field(default_factory=dict)
    parameters_denied: AccessDenied | None = None
    list_denied: AccessDenied | None = None

    @property
    def text(self) -> str:
        """What was found, in a few words."""
        if not self.asked:
            return "nothing to ask: every variable is local"
        secrets = sum(answer.text is not None for answer in self.secrets)
        externals = sum(answer.text is not None for answer in self.externals.values())
        return f"parameters: {len(self.parameters)}, secrets: {secrets}, external secrets: {externals}"


def look_up(
    manifest: Manifest,
    bootstrap: Bootstrap,
    *,
    parameters: Callable[[], ParameterReader],
    secrets: Callable[[str], SecretReader],
    deadline: Deadline,
) -> Lookups:
    """Ask for everything that can matter; `parameters` and `secrets` (of a region) are called only when needed.

    Raises `AwsError` when AWS cannot be asked at all, never for what is denied; `BootstrapError` for ARNs of the
    bootstrap file that cannot be asked for.
    """
    if all(variable.local for variable in manifest.variables):
        return Lookups()
    external.check(manifest, bootstrap)
    prefix = f"{bootstrap.namespace}/{manifest.service}/"
    secret_source = _SecretSource(secrets, bootstrap.region, deadline)
    wanted = external.ids(manifest, bootstrap)
    path = f"/{prefix}"
    with SideBySide(deadline) as group:
        by_path = group.start(f"reading parameters under {path}", lambda: _try(lambda: parameters().under(path)))
        known = group.start(f"reading secrets under {prefix}", lambda: secret_source.below(prefix, wanted))
        found, parameters_denied = by_path.result()
        beside, externals, list_denied = known.result()
    lookups = Lookups(
        asked=True,
        path=path,
        prefix=prefix,
        parameters=tuple(found or ()),
        secrets=tuple(sorted(beside, key=lambda answer: answer.asked)),
        externals={answer.asked: answer for answer in externals},
        parameters_denied=parameters_denied,
        list_denied=list_denied,
    )
    return _with_late_externals(lookups, manifest, bootstrap, secret_source)


def _with_late_externals(
    lookups: Lookups, manifest: Manifest, bootstrap: Bootstrap, secret_source: _SecretSource
) -> Lookups:
    """The same with the external secrets whose ARN is itself a value from AWS: only now can they be asked for."""
    if not external.has_late_ids(manifest, bootstrap):
        return lookups
    remote = RemoteIndex(lookups.parameters, lookups.secrets)
    late = [asked for asked in external.ids(manifest, bootstrap, remote) if asked not in lookups.externals]
    if not late:
        return lookups
    answers = {answer.asked: answer for answer in secret_source.fetch(late)}
    return replace(lookups, externals={**lookups.externals, **answers})


class _SecretSource:
    """Secrets Manager over regions: an ARN is asked for in its own."""

    def __init__(self, secrets: Callable[[str], SecretReader], region: str, deadline: Deadline) -> None:
        self._secrets = secrets
        self._region = region
        self._deadline = deadline

    def below(self, prefix: str, more: Sequence[str]) -> tuple[list[Answer], list[Answer], AccessDenied | None]:
        """The secrets below `prefix`, those of `more`, and that the list was denied, when it was.

        The list first, so that all values come in the fewest batches. The usual secret is asked for also when the list
        lacks it: the list is behind by some seconds after a secret was made.
        """
        names, denied = _try(lambda: self._secrets(self._region).names(prefix))
        usual = f"{prefix}secrets"
        own = list(dict.fromkeys([usual, *(names or ())]))
        answers = {answer.asked: answer for answer in self.fetch(list(dict.fromkeys([*own, *more])))}
        below = {asked: answers[asked] for asked in own}
        if names is not None and usual not in names:
            below[usual] = _as_not_there(below[usual])
        return list(below.values()), [answers[asked] for asked in more], denied

    def fetch(self, ids: Sequence[str]) -> list[Answer]:
        """One answer per id, in their order; batches run side by side."""
        regions: dict[str, list[str]] = {}
        for asked in ids:
            regions.setdefault(external.region_of(asked) or self._region, []).append(asked)
        batches = [(region, chunk) for region, asked in regions.items() for chunk in _chunks(asked)]
        if len(batches) == 1:
            answers = self._read(*batches[0])
        else:
            answers = self._at_once([partial(self._read, region, chunk) for region, chunk in batches])
        by_id = {answer.asked: answer for answer in answers}
        return [by_id[asked] for asked in ids]

    def _read(self, region: str, ids: Sequence[str]) -> list[Answer]:
        """A batch; when batches are denied (they have a permission of their own), each secret by itself."""
        reader = self._secrets(region)
        answers, denied = _try(lambda: reader.batch(ids))
        if denied is None:
            return list(answers or ())
        lanes = [ids[lane::LANES] for lane in range(min(LANES, len(ids)))]
        return self._at_once([partial(_one_by_one, reader, lane) for lane in lanes])

    def _at_once(self, jobs: Sequence[Callable[[], list[Answer]]]) -> list[Answer]:
        with SideBySide(self._deadline) as group:
            running = [group.start("reading secrets", job) for job in jobs]
            return [answer for job in running for answer in job.result()]


def _as_not_there(guessed: Answer) -> Answer:
    """The answer for a name that the list lacks: to be denied it says nothing then, least of all that it is there.

    AWS denies before it looks, and a policy that allows only the secrets that there are is a good one.
    """
    return replace(guessed, denied=None, unlisted=guessed.denied)


def _one_by_one(reader: SecretReader, ids: Iterable[str]) -> list[Answer]:
    return [reader.one(asked) for asked in ids]


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


def _try(call: Callable[[], T]) -> tuple[T | None, AccessDenied | None]:
    """What the call returns, or that it was denied. Credentials that AWS does not know are not a denied source."""
    try:
        return call(), None
    except AccessDenied as error:
        return None, error
