"""The compose file's uses of variables against what the manifest declares and the bootstrap file gives."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator

from agent.checks.bootstrap_file import BootstrapFile
from agent.checks.manifest import Declared
from agent.compose_file import ComposeFile, Finding, Use
from agent.compose_file.finding import error, warning
from agent.steps.bootstrap import DOCUMENTED, KEYS, PROXIES
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP, steers_the_host

# Compose sets it by itself.
_OF_COMPOSE = frozenset({"COMPOSE_PROJECT_NAME"})


def undeclared(
    composed: ComposeFile, declared: Declared, bootstrap: BootstrapFile | None, withheld: Collection[tuple[str, int]]
) -> Iterator[Finding]:
    """An error for each use of a name that nothing gives a value.

    On a line in `withheld` a `$NAME` may be a part of a password: it is not named.
    """
    given = DOCUMENTED | (bootstrap.names if bootstrap else frozenset())
    passed = {name for name in given if name in ALLOWED_FROM_BOOTSTRAP or not steers_the_host(name)} - set(KEYS)
    known = declared.names | passed | _OF_COMPOSE
    for use in composed.uses:
        if use.name in known:
            continue
        if use.form == "$NAME" and (use.file, use.line) in withheld:
            yield error(
                use.place,
                "variable-undeclared",
                "`$` begins a reference here, to a variable that nothing declares",
                "write `$$` for a plain `$`; keep a secret in Secrets Manager, not in the bundle",
            )
        elif use.name in KEYS:
            yield error(
                use.place,
                "variable-undeclared",
                f"{use.name} is not passed to Compose unless vars.yaml declares it",
                f"let the container use the instance's role, or declare {use.name} with `source: local`",
            )
        else:
            yield _undeclared(use, known)


def _undeclared(use: Use, known: Iterable[str]) -> Finding:
    near = difflib.get_close_matches(use.name, sorted(known), n=1, cutoff=0.75)
    question = f"; did you mean {near[0]}?" if near else ""
    return error(
        use.place,
        "variable-undeclared",
        f"{use.name} is neither declared in vars.yaml nor a bootstrap variable{question}",
        f"declare {use.name} in vars.yaml, or correct the name; write `$$` for a plain `$`",
    )


def empty_defaults(composed: ComposeFile) -> Iterator[Finding]:
    """A warning for each form that turns a missing value into an empty one. Proxies are documented as optional."""
    for use in composed.uses:
        if use.default_is_empty and use.name not in PROXIES:
            yield warning(
                use.place,
                "default-empty",
                f"${{{use.name}{use.form}}} turns a missing value into an empty one",
                f"write ${{{use.name}:?}} when it must have a value; else give it a `default` in vars.yaml",
            )
