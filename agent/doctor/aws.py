"""What a run asks of AWS, by the very calls that it makes: bundle, parameters, secrets, registry token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.aws import ecr
from agent.aws.parameters import Parameter, Parameters
from agent.aws.s3 import ConfigBucket
from agent.aws.secrets import Secrets
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, skip, warn
from agent.errors import BundleError, BundleMissing
from agent.host.clock import Deadline
from agent.report.words import amount
from agent.steps import bundle
from agent.steps.caps import Caps
from agent.variables import lookup, manifest


def find_bundle(facts: Facts) -> Iterator[Line]:
    """The bundle can be listed and an object of it read."""
    loaded = facts.bootstrap
    client = facts.session.s3()
    facts.compare_clocks(client)
    bucket = ConfigBucket(client, loaded.bucket)
    slug, caps = facts.slug or loaded.slug, Caps.of(loaded.variables)
    listing = bundle.find(bucket, slug, loaded.ref, loaded.role, caps)
    place = f"s3://{loaded.bucket}/deployments/{listing.slug}/{listing.ref}/{listing.role}/"
    entry = listing.entry(f"{listing.role}/{bundle.MANIFEST}")
    if entry is None:
        raise BundleError(f"looking at {place}", "it has no vars.yaml", "add it to the role's folder in the bundle")
    facts.manifest_data = bucket.read(entry.source)
    facts.listing, facts.bucket = listing, bucket
    yield ok(f"{place}: {amount(len(listing.entries), 'object')}, readable")
    for name, there in facts.session.moved.items():
        yield warn(
            f"the bucket {name} is in {there} and AWS_REGION is {loaded.region}: it is asked there, which costs more",
            "correct AWS_REGION or CONFIG_BUCKET in the bootstrap file",
        )
    if slug is None:
        yield warn(f"CONFIG_SLUG is not set: {listing.slug} is the only slug that fits, so far", "set CONFIG_SLUG")


def read_manifest(facts: Facts) -> Iterator[Line]:
    """The manifest is valid: that of the bucket, or, when it could not be had, the one on this host."""
    path, data = facts.manifest_file or facts.role_folder / bundle.MANIFEST, facts.manifest_data
    place = "vars.yaml of the bundle"
    if data is None or facts.manifest_file:
        place = facts.host.paths.shown(path)
        if not facts.manifest_file and not path.exists():
            yield skip("needs bundle")
            return
        try:
            data = path.read_bytes()
        except OSError as error:
            cause = error.strerror or str(error)
            raise BundleMissing(f"reading {place}", cause, "name a manifest, or run it as root") from error
    facts.manifest = manifest.parse(data, bundle.MANIFEST, known=facts.bootstrap.variables)
    yield ok(f"{place}, service {facts.manifest.service}: {amount(len(facts.manifest.variables), 'variable')}")
    for text in facts.manifest.warnings:
        yield warn(text, "correct vars.yaml where the bundle is made")


def _all_local(facts: Facts) -> bool:
    return all(variable.local for variable in facts.manifest.variables)


def read_parameters(facts: Facts) -> Iterator[Line]:
    """The parameters may be read, and there are some."""
    if _all_local(facts):
        yield ok("nothing to ask: every variable is local")
        return
    client = facts.session.ssm()
    facts.compare_clocks(client)
    path = f"/{facts.bootstrap.namespace}/{facts.manifest.service}/"
    facts.parameters = tuple(Parameters(client).under(path))
    facts.redactor.learn(item.value for item in facts.parameters if item.secure)
    if facts.parameters:
        yield ok(f"{amount(len(facts.parameters), 'parameter')} under {path}")
    else:
        yield warn(f"0 parameters under {path}", NOT_SEEDED)


NOT_SEEDED = "they are not seeded, or NAMESPACE (with the manifest's `service`) differs from the path that was seeded"


class Known:
    """Parameters that were read before, for `look_up`."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = parameters

    def under(self, path: str) -> Sequence[Parameter]:
        """Those; they are of this path."""
        return self._parameters


def read_secrets(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The secrets may be read, those of others that the manifest names among them."""
    if _all_local(facts):
        yield ok("nothing to ask: every variable is local")
        return
    found = look_up(facts, deadline)
    facts.found = found
    denied = {
        answer.denied.cause: answer.denied for answer in (*found.secrets, *found.externals.values()) if answer.denied
    }
    for error in denied.values():
        yield fail(error)
    if found.list_denied and not denied:
        fix = f"{found.list_denied.next_step}; until then only {found.prefix}secrets is read"
        yield warn(found.list_denied.cause, fix, found.list_denied.details)
    for asked in [answer.asked for answer in (*found.secrets, *found.externals.values()) if answer.deleted]:
        yield warn(f"{asked} is marked for deletion", f"aws secretsmanager restore-secret --secret-id '{asked}'")
    own = sum(answer.text is not None for answer in found.secrets)
    others = sum(answer.text is not None for answer in found.externals.values())
    if not denied:
        yield ok(f"{amount(own, 'secret')} under {found.prefix}, {amount(others, 'external secret')}")


def look_up(facts: Facts, deadline: Deadline, parameters: Sequence[Parameter] = ()) -> lookup.Lookups:
    """Ask for the secrets as a run does, with its fallbacks."""

    def secrets(region: str) -> Secrets:
        client = facts.session.secrets_manager(region)
        facts.compare_clocks(client)
        return Secrets(client)

    return lookup.look_up(
        facts.manifest, facts.bootstrap, parameters=lambda: Known(parameters), secrets=secrets, deadline=deadline
    )


def log_in(facts: Facts) -> Iterator[Line]:
    """ECR gives a token."""
    registry = facts.bootstrap.registry
    region = ecr.region_of(registry)
    if region is None:
        yield ok(f"{registry} is not ECR: the host's own logins are used")
        return
    client = facts.session.ecr(region)
    facts.compare_clocks(client)
    facts.login = ecr.login(client, registry)
    facts.redactor.learn([facts.login.password])
    yield ok(f"a token for {facts.login.registry}")
