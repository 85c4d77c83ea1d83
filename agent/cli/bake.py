"""`delphi-agent bake`: the images of a role's bundle on the machine that becomes an image."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from agent.bake import Baked, bake
from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.errors import BootstrapError, UsageError
from agent.report.record import Ending
from agent.report.words import amount
from agent.run import Options, Run
from agent.shell import file as shell_file
from agent.steps import bootstrap
from agent.steps.bootstrap import Bootstrap

# The option of each bootstrap variable that a bundle and its images are found by.
OPTIONS = {
    "SERVER_ROLE": "role",
    "CONFIG_BUCKET": "config_bucket",
    "CONFIG_REF": "config_ref",
    "ECR_REGISTRY": "ecr_registry",
    "ECR_TAG": "ecr_tag",
    "AWS_REGION": "region",
}
# A boot needs these and a build does not; an image whose name is made of one is not baked.
_NOT_NEEDED = ("ENVIRONMENT", "HOSTNAME", "NAMESPACE")
_WHERE = "the command line"


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Print what was baked; returns the exit code."""

    def work(made: Run) -> Ending:
        with made.step("bootstrap", "reading what to bake") as step:
            loaded, given = _wanted(arguments)
            step.detail = f"{loaded.role}, {loaded.ref}, tag {loaded.tag}"
        made.redactor.learn(loaded.secrets())
        made.warn("bootstrap.warning", *loaded.warnings)
        baked = bake(made, loaded, given)
        code = put(surroundings.out, f"{_text(baked, as_json=arguments.json)}\n")
        text = f"{amount(len(baked.images), 'image')} of {baked.bundle} baked"
        return Ending(outcome="done", exit_code=code, text=text)

    return conclude(arguments, surroundings, work, Options(slug=arguments.slug))


def _wanted(arguments: argparse.Namespace) -> tuple[Bootstrap, Mapping[str, str]]:
    """The bootstrap values of file and options, the options winning; and all that have a value."""
    path: Path | None = arguments.bootstrap
    try:
        data = path.read_bytes() if path else b""
    except OSError as error:
        raise BootstrapError(f"reading {path}", str(error.strerror), "name a file that can be read") from error
    given = {name: getattr(arguments, option) for name, option in OPTIONS.items() if getattr(arguments, option)}
    given |= dict(arguments.set)
    known = {**shell_file.parse(data, str(path)).values(), **given}
    missing = [f"--{option.replace('_', '-')}" for name, option in OPTIONS.items() if not known.get(name)]
    if missing:
        raise UsageError(
            "baking a role's images", f"{', '.join(missing)} not given", "give them, or --bootstrap FILE that has them"
        )
    stand_ins = {name: "not-known-yet" for name in _NOT_NEEDED if not known.get(name)}
    # After the file's own lines, so that faults in it are told with their lines.
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in {**given, **stand_ins}.items())
    loaded = bootstrap.understand(data + b"\n" + lines.encode(), 0o600, path or Path(), str(path or _WHERE))
    values = {
        name: value
        for name, value in loaded.variables.items()
        if value and name not in stand_ins and name not in bootstrap.KEYS
    }
    return loaded, values


def _text(baked: Baked, *, as_json: bool) -> str:
    if as_json:
        images = [asdict(image) for image in baked.images]
        return json.dumps(
            {"schema": 1, "bundle": baked.bundle, "images": images, "not_baked": list(baked.unknown)}, indent=1
        )
    lines = [f"{image.name}  {image.digests[0] if image.digests else image.id}" for image in baked.images]
    return "\n".join([*lines, *(f"{name}: not baked, its image is known at a boot only" for name in baked.unknown)])
