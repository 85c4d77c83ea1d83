"""The steps of `bake`: the images of a role's bundle on an image that becomes a machine's, and nothing of this host.

The bundle itself is not left behind: a boot reads it again in any case, and compares it by content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.dataclass import dataclass
from agent.errors import BundleError
from agent.host.side_by_side import SideBySide
from agent.run import Run
from agent.secret import Secret
from agent.stages.bundle import find_bundle, stage_bundle
from agent.stages.engine import reach_engine
from agent.stages.host import identify, locked
from agent.stages.images import pull_images, to_pull
from agent.stages.project import project_in, read_model
from agent.stages.registry import log_in, write_docker_config
from agent.stages.release import clean_up
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.variables.manifest import Manifest

# What a variable is given that has no value when an image is built. Numbers are read wherever a compose file wants one;
# two of them, so that an image whose name depends on such a variable is seen to.
_FILLERS = ("1", "2")


@dataclass(frozen=True, kw_only=True)
class BakedImage:
    """One image that is on the host now: its name in the compose file, its id, and the digests that a registry has."""

    name: str
    id: str
    digests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Baked:
    """What was baked. Of `unknown` services the image's name depends on a value that only a boot knows."""

    bundle: str
    images: Sequence[BakedImage]
    unknown: Sequence[str]


def bake(run: Run, loaded: Bootstrap, given: Mapping[str, str]) -> Baked:
    """Pull every image of the bundle that can be named before a boot; `given` are the variables with a value."""
    with locked(run, status=False):
        try:
            cloud = identify(run, loaded)
            with SideBySide(run.deadline) as jobs:
                login = jobs.start("logging in to the registry", lambda: log_in(run, loaded, cloud))
                engine = jobs.start("reaching the Docker engine", lambda: reach_engine(run))
                listing, manifest = find_bundle(run, loaded, cloud, {})
                staged = stage_bundle(run, cloud, loaded, listing, State(instance_id=""))
            engine.result()
            write_docker_config(run, login.result())
            model, unknown = _read_model(run, loaded, staged, _values(manifest, given))
            opened = project_in(run, loaded, _environment(manifest, given, _FILLERS[0]), staged)

            def log_in_again() -> None:
                write_docker_config(run, log_in(run, loaded, cloud))

            pull_images(run, opened, model, to_pull(run, model, None), log_in_again)
            return Baked(
                bundle=f"{listing.slug}/{listing.ref}/{listing.role}",
                images=tuple(_at_hand(run, name) for name in model.images),
                unknown=unknown,
            )
        finally:
            clean_up(run.host.paths)


def _values(manifest: Manifest, given: Mapping[str, str]) -> Mapping[str, Mapping[str, Secret]]:
    return {filler: _environment(manifest, given, filler) for filler in _FILLERS}


def _environment(manifest: Manifest, given: Mapping[str, str], filler: str) -> Mapping[str, Secret]:
    defaults = {item.name: item.default if item.default is not None else filler for item in manifest.variables}
    return {name: Secret(value) for name, value in {**defaults, **given}.items()}


def _read_model(
    run: Run, loaded: Bootstrap, staged: Staged, values: Mapping[str, Mapping[str, Secret]]
) -> tuple[Model, Sequence[str]]:
    """The model of the services whose image has one name whatever the missing values are, and the other services."""
    first, second = (read_model(run, project_in(run, loaded, values[filler], staged)) for filler in _FILLERS)
    other = {item.name: item.image for item in second.services}
    known = tuple(item for item in first.services if other.get(item.name) == item.image)
    unknown = sorted({item.name for item in first.services} - {item.name for item in known})
    run.warn(
        "bake.unknown",
        *(
            f"the image of {name} is not baked: its name depends on a value that only a boot knows (--set NAME=VALUE)"
            for name in unknown
        ),
    )
    if not known:
        raise BundleError(
            "baking the images of the bundle",
            "no image can be named: each depends on a value that is not given",
            "give the values that image names are made of: --set NAME=VALUE",
        )
    return replace(first, services=known), unknown


def _at_hand(run: Run, name: str) -> BakedImage:
    image = run.engine.image(name)
    if image is None:
        raise BundleError(
            f"looking for {name} after the pull",
            "the engine does not have it",
            "its service says `pull_policy: never` or `build:`: build the image first, then run it again",
        )
    return BakedImage(name=name, id=image.id, digests=image.digests)
