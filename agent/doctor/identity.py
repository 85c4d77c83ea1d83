"""Who this instance is to AWS: the metadata service, the keys, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator

from agent.aws import chain, imds_machine, imds_role, sts
from agent.aws.imds import Imds
from agent.aws.session import AwsSession
from agent.doctor.facts import Facts
from agent.doctor.line import Line, ok, skip, warn
from agent.errors import AgentError, UnreachableError
from agent.host.clock import Deadline
from agent.steps import identity

# One try; the service answers in a millisecond, or says why not.
_TRY_SECONDS = 0.5
_ROLE_SECONDS = 1.0


def metadata(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The metadata service gives a token; with other credentials nobody depends on it."""
    facts.imds = imds = Imds(facts.variables)
    given = chain.find(facts.variables, facts.bootstrap.region, facts.proxies)
    if facts.bootstrap.keys is not None:
        yield from _with_static_keys(facts, imds, deadline)
    elif given is not None:
        yield ok(f"not needed: {given.source}")
    elif imds.disabled:
        # That there are no credentials then is for the next check to say.
        yield warn("AWS_EC2_METADATA_DISABLED is true: it is not asked", "unset it where the instance has a role")
    elif imds_machine.look(facts.host.paths).ec2 is False and not imds.configured:
        yield warn("not asked: the firmware says that this is no EC2 instance", "put AWS keys into the bootstrap file")
    else:
        imds.wait(deadline.share(_TRY_SECONDS))
        yield ok("it gives tokens (version 2)")


def _with_static_keys(facts: Facts, imds: Imds, deadline: Deadline) -> Iterator[Line]:
    """They shadow a role that is attached; here, other than in a run, it is asked for wherever one may be."""
    if imds.disabled or imds_machine.look(facts.host.paths).ec2 is False:
        yield ok("not needed: static keys, and no instance's role can be there")
        return
    try:
        role = imds_role.attached_role(imds.hasty(), deadline.share(_ROLE_SECONDS))
    except AgentError as error:
        yield ok(f"not needed: static keys ({error.cause})")
        return
    if role is None:
        yield ok("not needed: static keys, and no role is attached")
        return
    yield warn(
        f"the static keys of the bootstrap file shadow the instance's role {role}, here and in every container that"
        " gets them (CredentialsProviderError)",
        "remove AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the bootstrap file, unless they are meant",
    )


def who(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The instance has credentials."""
    given = None if facts.bootstrap.keys else chain.find(facts.variables, facts.bootstrap.region, facts.proxies)
    imds = facts.imds or Imds(facts.variables)
    facts.identity = identity.establish(facts.bootstrap, imds, facts.host.paths, deadline.share(_ROLE_SECONDS), given)
    facts.session = AwsSession(
        facts.bootstrap.region, facts.identity.credentials, facts.proxies, facts.variables, hasty=True
    )
    yield ok(facts.identity.text)
    # That a role is hidden, the line above has said.
    for text in [text for text in facts.identity.warnings if " hide the role " not in text]:
        yield warn(text, "correct the bootstrap file, or the host")


def known(facts: Facts) -> Iterator[Line]:
    """AWS knows the credentials. STS need not be reachable for a run: then nothing is known, and nothing is wrong."""
    client = facts.session.sts()
    facts.compare_clocks(client)
    try:
        arn = sts.caller(client)
    except UnreachableError as error:
        yield warn(f"not known whose they are: {error.cause}", "nothing, unless what follows fails too")
        return
    yield ok(arn or "AWS knows them; to ask for their name is denied")


def hop_limit(facts: Facts) -> Iterator[Line]:
    """Whether containers reach the metadata service: nothing on the host tells."""
    if not facts.identity.from_imds:
        yield ok("not needed: the keys are not the instance's")
        return
    yield skip(
        "cannot be seen from the host: below 2, IMDS fails from containers on bridge networks",
        f"aws ec2 modify-instance-metadata-options --instance-id {facts.identity.instance_id}"
        " --http-put-response-hop-limit 2",
    )
