"""The bootstrap file; when there is none, what the instance itself gives for one, and otherwise why there is none."""

from __future__ import annotations

import os
from pathlib import Path

from agent.aws import imds_machine
from agent.aws.imds import Imds
from agent.errors import AgentError, BootstrapError
from agent.host import files
from agent.run import Run
from agent.steps import bootstrap, cloud_init, user_data
from agent.steps.bootstrap import Bootstrap
from agent.steps.cloud_init import Findings

# A host that may be no EC2 instance is told so soon: this is not the wait for a role.
LOOK_SECONDS = 5.0
# On EC2 the metadata service is only late. That is also what leaves cloud-init without a datasource.
SURE_SECONDS = 120.0

_NOT_LOOKED = "`delphi-agent init` also looks into the user data and tags of an EC2 instance"


def supply(run: Run, path: Path, *, writes: bool) -> str:
    """Write the bootstrap file from user data or tags when it is absent; returns where they come from.

    Without `writes` nothing is asked and nothing is written. Returns an empty text for a file that is there. Raises
    `BootstrapError` with the causes that can be seen when there is no file and nothing to make one of.
    """
    if os.path.lexists(path):
        return ""
    looked = _NOT_LOOKED
    if writes:
        found, looked = _ask(run, path)
        if found is not None:
            with files.naming(f"making the folder {path.parent}"):
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            files.write(path, found.data, 0o600)
            return found.source
    raise _absent(run, path, looked)


def load(run: Run, path: Path, *, own: bool) -> Bootstrap:
    """The bootstrap file at `path`; a fault of the host's `own` one is told with what cloud-init's files say of it."""
    try:
        return bootstrap.load(path, str(path))
    except BootstrapError as error:
        seen = findings(run, path) if own else None
        if seen is None or not (seen.causes or seen.warnings):
            raise
        details = [*error.details, *seen.causes, *seen.warnings]
        raise BootstrapError(error.doing, error.cause, error.next_step, details=details) from error


def findings(run: Run, path: Path) -> Findings:
    """What cloud-init's files say about this boot and the bootstrap file at `path`."""
    return cloud_init.look(run.host.paths, path, imds_machine.look(run.host.paths).instance_id)


def _ask(run: Run, path: Path) -> tuple[user_data.Found | None, str]:
    """What the metadata service gives, and what was looked for in words. Only on EC2: elsewhere nothing is sent."""
    imds = Imds(run.host.environ)
    if imds.disabled:
        return None, "AWS_EC2_METADATA_DISABLED is true, so user data was not looked at"
    on_ec2 = imds_machine.look(run.host.paths).ec2 is True
    if not on_ec2 and not imds.configured:
        return None, "the firmware does not say EC2, so user data was not looked at"
    try:
        found = user_data.find(imds, path, run.deadline.share(SURE_SECONDS if on_ec2 else LOOK_SECONDS))
    except BootstrapError:
        raise
    except AgentError as error:
        if on_ec2 and not findings(run, path).causes:
            raise  # an instance whose metadata is late: a restart helps
        return None, f"user data could not be looked at ({error.cause})"
    return found, "the instance's user data has no section `delphi`, and it sees no tags `delphi:NAME`"


def _absent(run: Run, path: Path, looked: str) -> BootstrapError:
    causes = findings(run, path).causes
    return BootstrapError(
        f"reading the bootstrap file {path}",
        "; ".join(["there is no such file", *causes]),
        "let cloud-init write it (`write_files`, mode 0600) and see /var/log/cloud-init-output.log for why it did"
        " not; then `cloud-init clean --reboot`, or write the file by hand",
        details=[looked],
    )
