"""The steps of the commands that only ask: what is every variable's value, and why. Nothing on the host changes."""

from __future__ import annotations

from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import AgentError
from agent.host.side_by_side import within
from agent.run import Run
from agent.stages import bundle, host, values
from agent.stages.host import Cloud
from agent.steps.bootstrap import Bootstrap
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.resolution import Resolution


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """What was read and asked. `cloud` is None when no variable needed AWS."""

    bootstrap: Bootstrap
    manifest: Manifest
    cloud: Cloud | None
    found: Lookups
    resolution: Resolution
    errors: list[AgentError]


def ask(run: Run, bootstrap_file: Path | None = None, manifest_file: Path | None = None) -> Inquiry:
    """Read bootstrap file and manifest (the host's unless named), ask AWS for what is needed, weigh what was found.

    What stands in the way of using the values is in `errors`; to raise it is for the caller.
    """
    bootstrap = host.load_bootstrap(run, bootstrap_file)
    manifest = bundle.read_live_manifest(run, bootstrap, manifest_file)
    cloud, found = None, Lookups()
    if any(not item.local for item in manifest.variables):
        cloud = host.identify(run, bootstrap)
        found = within(run.deadline, "reading values", lambda: values.look_up(run, bootstrap, cloud, manifest))
    resolution, errors = values.weigh(run, bootstrap, cloud, manifest, found, strict=False)
    return Inquiry(
        bootstrap=bootstrap, manifest=manifest, cloud=cloud, found=found, resolution=resolution, errors=errors
    )
