"""IAM enforcement for the calls of the machine: one identity policy, evaluated as AWS evaluates it.

moto's own enforcement knows resources for S3 only. This one knows those of S3, SSM, Secrets Manager and of signals;
every other action is asked for on "*". Supported in statements: Effect, Action, Resource (with wildcards), and the
conditions StringEquals / StringLike on s3:prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs

from tests.lab.aws_errors import error_reply
from tests.lab.aws_model import ACCOUNT, REGION, Json
from tests.lab.aws_requests import ApiCall
from tests.lab.aws_signals import resource_arn
from tests.lab.http_door import Reply, Request

ROLE_SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/lab-role/i-0123456789abcdef0"

_S3_PERMISSIONS = {
    "ListObjectsV2": "ListBucket",
    "ListObjects": "ListBucket",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
}
_JSON_SERVICES = ("ssm", "secretsmanager", "ecr", "kms", "logs")
_WITHOUT_RESOURCE = ("secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue")


class Policy:
    """An IAM policy document; what no statement allows is denied, and an explicit Deny wins."""

    def __init__(self, document: dict[str, Json]) -> None:
        self._statements: list[dict[str, Json]] = _list(document["Statement"])

    def allows(self, permission: str, resource: str, context: dict[str, str] | None = None) -> bool:
        effects = {
            statement["Effect"]
            for statement in self._statements
            if _matches(statement["Action"], permission, re.IGNORECASE)
            and _matches(statement.get("Resource", "*"), resource)
            and _conditions_hold(statement.get("Condition", {}), context or {})
        }
        return effects == {"Allow"}

    def refusal(self, request: Request, call: ApiCall, secret_arn: Callable[[str], str]) -> Reply | None:
        """The answer when this call is not allowed; None when it is. `secret_arn` finds the ARN of a secret's id."""
        prefix = parse_qs(request.query, keep_blank_values=True).get("prefix", [""])[0]
        permission = _permission(call)
        for resource in _arns(call, secret_arn):
            if not self.allows(permission, resource, {"s3:prefix": prefix}):
                return denied(call.service, permission, resource)
        return None

    def hides_absence(self, call: ApiCall, reply: Reply) -> bool:
        """S3 says 403, not 404, of an absent object to those who may not list the bucket."""
        bucket = call.resource.partition("/")[0]
        asked_for_object = call.name in ("s3:GetObject", "s3:HeadObject") and reply.status == 404
        return asked_for_object and not self.allows("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": ""})


def denied(service: str, permission: str, resource: str) -> Reply:
    message = (
        f"User: {ROLE_SESSION} is not authorized to perform: {permission} on resource: {resource} "
        f"because no identity-based policy allows the {permission} action"
    )
    if service in _JSON_SERVICES:
        return error_reply(service, 400, "AccessDeniedException", message)
    return error_reply(service, 403, "AccessDenied", message)


def _permission(call: ApiCall) -> str:
    action = _S3_PERMISSIONS.get(call.action, call.action) if call.service == "s3" else call.action
    return f"{call.service}:{action}"


def _arns(call: ApiCall, secret_arn: Callable[[str], str]) -> list[str]:
    if call.service == "s3":
        on_bucket = _permission(call).endswith("Bucket")
        return [f"arn:aws:s3:::{name.partition('/')[0] if on_bucket else name}" for name in call.resources] or ["*"]
    if call.service == "ssm":
        return [f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.lstrip('/')}" for name in call.resources] or ["*"]
    if call.service == "secretsmanager" and call.name not in _WITHOUT_RESOURCE:
        return [secret_arn(name) for name in call.resources] or ["*"]
    if call.service in ("autoscaling", "cloudformation") and call.resources:
        return [resource_arn(call.action, call.resource)]
    return ["*"]


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _matches(patterns: Json, value: str, flags: int = 0) -> bool:
    def as_regex(pattern: str) -> str:
        return "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)

    return any(re.fullmatch(as_regex(pattern), value, flags | re.DOTALL) for pattern in _list(patterns))


def _conditions_hold(conditions: dict[str, dict[str, Json]], context: dict[str, str]) -> bool:
    for operator, tests in conditions.items():
        for key, wanted in tests.items():
            value = context.get(key, "")
            if operator == "StringEquals" and value not in _list(wanted):
                return False
            if operator == "StringLike" and not _matches(wanted, value):
                return False
            if operator not in ("StringEquals", "StringLike"):
                raise ValueError(f"the lab does not know the condition {operator}")
    return True
