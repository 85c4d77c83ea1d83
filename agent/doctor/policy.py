"""The least-privilege IAM policy of a role, made from the table of rights and the role's files. Asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.aws import ecr
from agent.compose_file import ComposeFile
from agent.compose_file.filling import UNKNOWN
from agent.dataclass import dataclass
from agent.doctor import images, signal_rights
from agent.doctor.images import Image
from agent.doctor.rights import EVERY, RIGHTS, Right
from agent.errors import UsageError
from agent.host import image_names
from agent.steps import bundle
from agent.steps.bootstrap import Bootstrap
from agent.variables import external
from agent.variables.manifest import Manifest

_WHOLE_ARN = re.compile(r"arn:.*:secret:.+-[A-Za-z0-9]{6}")


@dataclass(frozen=True, kw_only=True)
class Role:
    """What the policy depends on: bootstrap file, manifest, compose files; `slug` wins over the file's."""

    bootstrap: Bootstrap
    manifest: Manifest
    compose: ComposeFile
    slug: str | None = None
    kms_keys: tuple[str, ...] = ()


def policy(role: Role) -> dict[str, Any]:
    """The policy document. Raises `UsageError` when neither the registry's name nor an ARN tells the account."""
    found = places(role)
    remote = any(not variable.local for variable in role.manifest.variables)
    wanted = [right for right in RIGHTS if (remote or not right.remote) and (found["repository"] or not right.images)]
    wanted += signal_rights.of(role.bootstrap.variables)
    statements = [_statement(right, found) for right in wanted]
    if role.kms_keys:
        statements.append(_allow("UseKeys", "kms:Decrypt", role.kms_keys))
    return {"Version": "2012-10-17", "Statement": statements}


def notes(role: Role) -> list[str]:
    """What the policy cannot hold, since only AWS knows it, and what it holds too much of for that."""
    found = [f"{finding.place}: {finding.text}: Compose refuses the project" for finding in role.compose.findings]
    for image, arn in _repositories(role):
        if EVERY in arn:
            found.append(f"{image.text}: {image.why}; for it there is {arn}: put the repository's name there")
        elif image.why and UNKNOWN not in image.name:
            found.append(f"{image.text}: {image.why}; without it, it is no image's name")
    if external.has_late_ids(role.manifest, role.bootstrap):
        names = sorted({item.secret.arn_from for item in role.manifest.variables if item.secret})
        found.append(f"the ARNs in {', '.join(names)} may come from AWS: add secretsmanager:GetSecretValue on them")
    if not role.kms_keys:
        found.append("values under a customer managed key need kms:Decrypt on it: --kms-key ARN")
    return found


def _statement(right: Right, places: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    made = _allow(right.sid, right.action, [text for shape in right.resources for text in _filled(shape, places)])
    if right.prefixes:
        prefixes = [text for shape in right.prefixes for text in _filled(shape, places)]
        # Without a slug the agent looks for it: it lists the slugs first.
        prefixes += ["deployments/"] if places["slug"] == [EVERY] else []
        made["Condition"] = {"StringLike": {"s3:prefix": prefixes}}
    return made


def _allow(sid: str, action: str, resources: Sequence[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": action, "Resource": sorted(set(resources))}


def _filled(shape: str, places: Mapping[str, Sequence[str]]) -> list[str]:
    """The shape with each name in braces replaced, once for each of its values."""
    texts = [shape]
    for name, values in places.items():
        texts = [
            text.replace(f"{{{name}}}", value)
            for text in texts
            for value in (values if f"{{{name}}}" in text else ("",))
        ]
    return texts


def places(role: Role) -> dict[str, list[str]]:
    """What stands for each name in braces in the table."""
    loaded, partition, account = role.bootstrap, partition_of(role.bootstrap.region), _account(role)
    found = {
        "partition": [partition],
        "region": [loaded.region],
        "account": [account],
        "bucket": [loaded.bucket],
        "slug": [role.slug or loaded.slug or EVERY],
        "folder": [loaded.role, bundle.COMMON],
        "namespace": [loaded.namespace],
        "service": [role.manifest.service],
    }
    secrets = external.ids(role.manifest, loaded)
    prefix = f"arn:{partition}:secretsmanager:{loaded.region}:{account}:secret:"
    found["external"] = [arn for asked in secrets for arn in _secret_arns(asked, prefix)]
    found["repository"] = [arn for _, arn in _repositories(role) if arn]
    return found


def _secret_arns(asked: str, prefix: str) -> list[str]:
    """The ARNs that a policy takes: with the six characters that AWS adds, or `?` for each.

    A name may end in a word of six letters (`db-master`): such a one stands for both.
    """
    whole = asked if asked.startswith("arn:") else prefix + asked
    open_end = f"{whole}-??????"
    if not (asked.startswith("arn:") and _WHOLE_ARN.fullmatch(whole)):
        return [open_end]
    return [whole, open_end] if re.fullmatch("[a-z]{6}", whole[-6:]) else [whole]


def _repositories(role: Role) -> Iterable[tuple[Image, str]]:
    """The images with their repositories' ARNs, empty for what is not of ECR; what no file tells of a name is a `*`."""
    partition = partition_of(role.bootstrap.region)
    for image in images.of(role.compose, images.values_of(role.bootstrap.variables, role.manifest)):
        host, _, repository = image_names.repository(image.name).partition("/")
        region, account = ecr.region_of(host), host.partition(".")[0]
        if region is None and UNKNOWN in host:
            # Of any registry, so perhaps of ECR: then of this account's.
            region, account, repository = role.bootstrap.region, _account(role), EVERY
        name = repository.replace(UNKNOWN, EVERY)
        yield image, f"arn:{partition}:ecr:{region}:{account}:repository/{name}" if region else ""


def partition_of(region: str) -> str:
    """The partition of AWS that a region belongs to."""
    for beginning, partition in (
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
    ):
        if region.startswith(beginning):
            return partition
    return "aws"


def _account(role: Role) -> str:
    registry = role.bootstrap.registry.partition(".")[0]
    if ecr.region_of(role.bootstrap.registry):
        return registry
    for asked in external.ids(role.manifest, role.bootstrap):
        if asked.startswith("arn:"):
            return asked.split(":")[4]
    raise UsageError(
        "computing the IAM policy",
        "the account's number is neither in ECR_REGISTRY nor in the ARN of a secret",
        "it is the twelve digits of an ECR registry's name: see ECR_REGISTRY in the bootstrap file",
    )
