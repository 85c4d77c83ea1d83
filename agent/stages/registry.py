"""The registry: logged in to for one run, and asked early which images its tags name now."""

from __future__ import annotations

from pathlib import Path

from agent.aws import ecr
from agent.aws.ecr import Login
from agent.aws.tags import Tags
from agent.dataclass import dataclass
from agent.host.proxy import Proxies
from agent.report.record import Step
from agent.report.words import amount
from agent.run import Run
from agent.stages.host import Cloud
from agent.steps import registry
from agent.steps.bootstrap import Bootstrap
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a run has of the registry; both are None when it is not ECR, or no image is wanted."""

    login: Login | None = None
    tags: Tags | None = None


def log_in(run: Run, loaded: Bootstrap, cloud: Cloud) -> Login | None:
    """Get the registry's token, when images are wanted and the registry is ECR."""
    with run.step("registry", f"logging in to {loaded.registry}") as step:
        return _log_in(run, loaded, cloud, step)


def reach_registry(run: Run, loaded: Bootstrap, cloud: Cloud, kept: State) -> Access:
    """As `log_in`; then ask for the images of the current release, which most reruns will find to be the same ones."""
    with run.step("registry", f"logging in to {loaded.registry}") as step:
        login = _log_in(run, loaded, cloud, step)
        if login is None:
            return Access()
        tags = Tags(login, cloud.session.trust, Proxies.of(loaded.variables))
        current = kept.current
        if current is not None and (current.role, current.tag) == (loaded.role, loaded.tag):
            asked = tags.digests(current.references, run.deadline)
            if asked:
                step.detail += f", {amount(len(asked), 'tag')} looked at"
        return Access(login=login, tags=tags)


def _log_in(run: Run, loaded: Bootstrap, cloud: Cloud, step: Step) -> Login | None:
    region = ecr.region_of(loaded.registry)
    if region is None:
        step.detail = f"{loaded.registry} is not ECR: using the host's own logins"
        return None
    if not run.options.images_wanted:
        step.detail = "not needed"
        return None
    login = ecr.login(cloud.session.ecr(region), loaded.registry)
    run.redactor.learn([login.password])
    step.detail = f"logged in to {login.registry}"
    return login


def write_docker_config(run: Run, login: Login | None, folder: Path | None = None) -> None:
    """Put the token where only this run's children look: in `folder`, else in the place of the lock's holder.

    Not in the thread that asks for it: a run that ends early erases the file, and nothing may write it after that.
    """
    own = run.host.paths.at(f"{run.host.home}/.docker")
    registry.write_config(folder or run.host.paths.docker_config, login, own)
