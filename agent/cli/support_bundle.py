"""`delphi-agent support-bundle`: everything that helps to see what is wrong with a host, without its secrets."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent import inquiry
from agent.checks.secrets import is_named_like_a_secret, scan
from agent.cli import output
from agent.cli.context import conclude
from agent.cli.streams import put
from agent.cli.terminal import Surroundings
from agent.errors import AgentError
from agent.host.engine_answers import Container
from agent.report.record import Ending, Recorder
from agent.report.support import Member, Scanner, archive, seal
from agent.report.words import size
from agent.run import Options, Run
from agent.secret import REDACTED, Secret
from agent.stages import support
from agent.steps import state
from agent.steps.bootstrap import Bootstrap
from agent.steps.bootstrap_shape import faults_of_shape

# For what AWS has: the bundle must not wait for what may be just what is broken.
AWS_SECONDS = 20.0
# A value of a container or of the bootstrap file that nobody declared is taken for a secret from this length on.
UNDECLARED_LENGTH = 8
# Not the agent's own documents, which hold no value, and names with fingerprints.
_SETTINGS = ("role/", "daemon.json", "cloud-init-", "journal", "logs/")


def run(arguments: argparse.Namespace, surroundings: Surroundings) -> int:
    """Write the bundle; its path goes to standard output, what is in it to standard error."""

    def work(made: Run) -> Ending:
        # Steps that fail here are no faults of this command: they are in the bundle.
        quiet = replace(made, recorder=Recorder(made.recorder.head, made.host.clock, []))
        values = support.read_bootstrap(quiet)
        role = _role(quiet, values)
        found, why_none = support.containers(quiet, role)
        secrets, remarks = _known(quiet, values, found)
        collected = [_without_settings(item) for item in support.collect(quiet, role, found, why_none)]
        sealed = seal(collected, Scanner(secrets), [*remarks, *_who(made)])
        now = made.host.clock.now()
        path: Path = arguments.output or Path(f"delphi-agent-support-{now:%Y%m%dT%H%M%SZ}.tar.gz")
        output.write(path, archive(sealed.members, now.timestamp()), 0o600, durable=False)
        _tell(surroundings, sealed.members, sealed.left_out)
        return Ending(outcome="done", exit_code=put(surroundings.out, f"{path.absolute()}\n"), text="")

    return conclude(arguments, surroundings, work, Options())


def _tell(surroundings: Surroundings, members: Sequence[Member], left_out: Sequence[str]) -> None:
    for member in members:
        print(f"  {member.name:<34} {size(len(member.text.encode('utf-8', 'replace'))):>10}", file=surroundings.err)
    for name in left_out:
        print(f"  {name:<34} left out: a secret in it could not be taken out", file=surroundings.err)


def _who(made: Run) -> Iterator[str]:
    if made.host.uid != 0:
        yield "made without root: what only root can read is not in it; `sudo delphi-agent support-bundle` has more"


def _role(made: Run, values: Mapping[str, str]) -> str:
    """The role by the bootstrap file, else that of the current release; empty when neither tells."""
    role = values.get("SERVER_ROLE", "")
    if role and not any(faults_of_shape({"SERVER_ROLE": role})):
        return role
    try:
        kept, _ = state.load(made.host.paths.state, None)
    except AgentError:
        return ""
    return kept.current.role if kept.current else ""


def _known(made: Run, values: Mapping[str, str], found: Sequence[Container]) -> tuple[dict[str, Secret], Sequence[str]]:
    """Every secret that can be known here, by a name that is none, and where they are from."""
    secrets = {
        f"bootstrap {name}": Secret(value)
        for name, value in values.items()
        if name not in support.PLAIN and is_named_like_a_secret(name)
    }
    bootstrap = Bootstrap(path=made.host.paths.bootstrap, variables=values, warnings=())
    secrets |= {f"bootstrap key {number}": item for number, item in enumerate(bootstrap.secrets(), 1)}
    remarks = ["bootstrap file: read" if values else "bootstrap file: not readable"]
    plain = {value for name, value in values.items() if name in support.PLAIN}
    try:
        deadline = made.deadline.share(AWS_SECONDS)
        asked = inquiry.ask(replace(made, deadline=deadline, engine=made.engine.until(deadline)))
    except AgentError as error:
        remarks.append(f"AWS: not all is known ({error.code}); what containers were given is taken for secret")
    else:
        resolved = asked.resolution.variables
        secrets |= {name: item.value for name, item in resolved.items() if item.sensitive}
        plain |= {item.value.reveal() for item in resolved.values() if not item.sensitive}
        remarks.append(f"AWS: asked, {len(asked.resolution.variables)} variables have a value")
    secrets |= _of_containers(found, plain) | _of_bootstrap(values, plain)
    remarks.append(f"containers: {len(found)} looked at")
    return secrets, remarks


def _of_containers(found: Sequence[Container], plain: Collection[str]) -> dict[str, Secret]:
    """What containers were given and nobody calls harmless: it is a secret by its name, or may be one."""
    return {
        f"{item.name} {name}": value
        for item in found
        for name, value in item.environment.items()
        if is_named_like_a_secret(name)
        or (len(value.reveal()) >= UNDECLARED_LENGTH and value.reveal() not in plain and name != "PATH")
    }


def _of_bootstrap(values: Mapping[str, str], plain: Collection[str]) -> dict[str, Secret]:
    """What else the bootstrap file sets: variables of the manifest with `source: local` may be secrets too."""
    return {
        f"bootstrap {name}": Secret(value)
        for name, value in values.items()
        # An ARN only says where a secret is, and without it nobody understands a refusal.
        if len(value) >= UNDECLARED_LENGTH and value not in plain and not value.startswith("arn:")
    }


def _without_settings(member: Member) -> Member:
    """A settings file without what is set to something that looks like a secret."""
    if not member.name.startswith(_SETTINGS):
        return member
    text = member.text
    for suspect in reversed([*scan(text, settings=True)]):
        text = f"{text[: suspect.index]}{REDACTED}{text[suspect.end :]}"
    return Member(member.name, text)
