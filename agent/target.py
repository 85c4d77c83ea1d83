"""What a run is to deploy: what the bootstrap file says (`init`), another tag or ref (`update`), a former release.

Contract section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field

from agent.dataclass import dataclass
from agent.errors import UsageError
from agent.steps import bootstrap_change
from agent.steps.bootstrap import Bootstrap
from agent.steps.records import Release
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the bootstrap file says with some `changes` (old and new value), or the former release `back_to`.

    The changes are written to the file once the deploy is verified. `asked` by an operator: tried although it failed.
    """

    bootstrap: Bootstrap
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    back_to: Release | None = None
    asked: bool = False


Aim = Callable[[Bootstrap, State], Target]


def as_it_says(bootstrap: Bootstrap, _: State) -> Target:
    """What the bootstrap file says."""
    return Target(bootstrap=bootstrap)


def changed(changes: Mapping[str, str]) -> Aim:
    """The bootstrap file with another tag or ref; values and file are checked before anything is deployed."""
    bootstrap_change.check_values(changes)

    def aim(bootstrap: Bootstrap, _: State) -> Target:
        bootstrap_change.check_file(bootstrap.path, changes)
        return _target(bootstrap, changes, None)

    return aim


def back(number: int | None, *, force: bool) -> Aim:
    """A former release: `number`, else the one before; tag and ref go to the bootstrap file with it."""

    def aim(bootstrap: Bootstrap, kept: State) -> Target:
        release = choose(kept, number)
        refuse_one_way(kept, release, force=force)
        if release.role != bootstrap.role:
            raise UsageError(
                f"going back to release {release.number}",
                f"it is of the role {release.role}, this host has the role {bootstrap.role} now",
                "choose a release of this role: `delphi-agent history`",
            )
        changes = {"CONFIG_REF": release.ref, "ECR_TAG": release.tag}
        if bootstrap.slug is not None:
            changes["CONFIG_SLUG"] = release.slug
        bootstrap_change.check_file(bootstrap.path, changes)
        return _target(bootstrap, changes, release)

    return aim


def _target(bootstrap: Bootstrap, changes: Mapping[str, str], release: Release | None) -> Target:
    pairs = {name: (bootstrap.variables[name], value) for name, value in changes.items()}
    return Target(bootstrap=bootstrap.changed(changes), changes=pairs, back_to=release, asked=True)


def choose(kept: State, number: int | None) -> Release:
    """The release to go back to; without a number the one before, or the last verified one when a later one failed."""
    known = {release.number: release for release in kept.releases}
    if number is None and kept.started is not None and kept.current is not None:
        # An earlier rollback that was ended is gone on with; else a later release failed, and was left.
        return known.get(kept.started.back_to or kept.current.number, kept.current)
    if number is None and len(kept.releases) > 1:
        return kept.releases[-2]
    if number in known:
        return known[number]
    listed = ", ".join(map(str, known)) or "none"
    what = "there is no release before" if number is None else f"release {number} is not known"
    if number is None and kept.current is not None:
        what += f" release {kept.current.number}, which is deployed"
    raise UsageError("going back to a former release", f"{what}; kept: {listed}", "see `delphi-agent history`")


def refuse_one_way(kept: State, release: Release, *, force: bool) -> None:
    """A release that did something at its start that cannot be taken back is not left silently (contract section 6)."""
    if kept.started is not None and kept.started.irreversible and not force:
        raise UsageError(
            f"going back to release {release.number}",
            f"{kept.started.text} was started, whose vars.yaml says `irreversible: true`: what it did at its start (a"
            " migration) stays, and the older release may not work with it",
            "when you know that it does: `delphi-agent rollback --force`",
        )
    between = [item.number for item in kept.releases if item.number > release.number and item.irreversible]
    if between and not force:
        raise UsageError(
            f"going back to release {release.number}",
            f"release {between[-1]} says `irreversible: true` in its vars.yaml: what it did at its start (a migration)"
            " stays, and the older release may not work with it",
            "when you know that it does: `delphi-agent rollback --force`",
        )
