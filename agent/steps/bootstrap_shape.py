"""What a bootstrap value cannot look like; only what is certain to fail later, and then says so less clearly.

Among it what a template left in: `<your-bucket>`, `CHANGEME`, `AKIA...`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping

from agent.aws import endpoints
from agent.shell.file import Assignment

REGION = r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}"
# Bytes that are no UTF-8 (PEP 383): no key of S3 has them.
_NO_TEXT = r"\ud800-\udfff"
# As botocore knows them: a bucket by its name or the alias of an access point, and an access point by its ARN.
_BUCKET = (
    r"[A-Za-z0-9._-]{3,255}"
    r"|arn:aws[^\s:]*:(s3|s3-object-lambda):[a-z0-9-]*:[0-9]{12}:accesspoint[/:][A-Za-z0-9.-]{1,63}"
    r"|arn:aws[^\s:]*:s3-outposts:[a-z0-9-]+:[0-9]{12}:outpost[/:][A-Za-z0-9-]{1,63}[/:]accesspoint[/:][A-Za-z0-9-]{1,63}"
)

_STACK = ("SIGNAL_CFN_STACK", "SIGNAL_CFN_RESOURCE")
_NUMBER = (r"0*[1-9][0-9]{0,17}", "must be a whole number above 0, in digits alone")
_SHAPES = {
    "SERVER_ROLE": (
        r"(?!common$)[A-Za-z0-9][A-Za-z0-9._-]*",
        "must be one folder name of letters, digits, `.`, `_`, `-` (it is a part of paths and keys), and not `common`",
    ),
    "AWS_REGION": (REGION, "must be a region such as eu-central-1"),
    "ECR_REGISTRY": (
        r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._/-]+[a-z0-9]+)*)?",
        "must be a host such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com: no `https://`, no slash at its end",
    ),
    "ECR_TAG": (r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", "must be an image tag: letters, digits, `.`, `_`, `-`"),
    "CONFIG_BUCKET": (
        _BUCKET,
        "must be a bucket's name (letters, digits, `.`, `_`, `-`; no `s3://`, no slashes) or an access point's ARN",
    ),
    "CONFIG_REF": (
        rf"(?!/)(?!.*//)(?!(.*/)?\.{{1,2}}(/|$))[^\s{_NO_TEXT}]+(?<!/)",
        "must be a ref, in UTF-8, without a slash at its ends",
    ),
    "CONFIG_SLUG": (rf"(?!\.{{1,2}}$)[^\s/{_NO_TEXT}]+", "must be one part of a key, in UTF-8, without slashes"),
    # A name will do as well, and is asked for in AWS_REGION.
    "DB_MASTER_SECRET_ARN": (
        rf"(?!arn:).*|arn:[^:]*:[^:]*(:({REGION})?(:.*)?)?",
        "must be the ARN of a secret, with a region such as eu-central-1",
    ),
    "AWS_ACCOUNT_ID": (r"[0-9]{12}", "must be the account's twelve digits"),
    "CONFIG_MAX_OBJECTS": _NUMBER,
    "CONFIG_MAX_BYTES": _NUMBER,
    "SIGNAL_ASG": (r"[A-Za-z0-9_/-]{1,255}", "must be `auto`, `off`, or the name of a lifecycle hook"),
    "SIGNAL_CFN_STACK": (
        r"[A-Za-z][A-Za-z0-9-]{0,127}|arn:[a-z-]+:cloudformation:[^\s]+",
        "must be a stack's name or ARN",
    ),
    "SIGNAL_CFN_RESOURCE": (r"[A-Za-z0-9]{1,255}", "must be the logical id of a resource of the stack"),
    "ON_FAILURE": (r"terminate|hold", "must be `terminate` or `hold`"),
    "ON_FAILURE_HOLD_SECONDS": (r"0*[1-9][0-9]{0,5}", "must be a number of seconds, in digits alone"),
    # Parameter Store takes only these in a path.
    "NAMESPACE": (
        r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*",
        "must be letters, digits, `.`, `_`, `-`, without a slash at its ends",
    ),
}


def faults_of_shape(variables: Mapping[str, str]) -> Iterator[str]:
    """A line for each value that cannot be right; never the value."""
    for name, (pattern, rule) in _SHAPES.items():
        value = variables.get(name)
        if value and not re.fullmatch(pattern, value):
            yield f"{name} {rule}"
    yield from endpoints.faults(variables)
    for name, other in (_STACK, _STACK[::-1]):
        if variables.get(name) and not variables.get(other):
            yield f"{name} is set and {other} is not; a signal needs both"


_PLACEHOLDER = re.compile(r"<[^<>]*>|change[-_ ]?me!?|[A-Za-z0-9/+_-]*(\.{3,}|…)", re.IGNORECASE)


def faults_of_placeholders(assignments: Iterable[Assignment], names: Container[str]) -> Iterator[str]:
    """`LINE: fault` for each of `names` whose last value was never filled in; never the value.

    Other names are the bundle's: what is a placeholder to them, nobody can know here.
    """
    last = {assignment.name: assignment for assignment in assignments if assignment.name in names}
    for name, assignment in last.items():
        if _PLACEHOLDER.fullmatch(assignment.value):
            yield f"{assignment.line}: {name} still has its placeholder; put the real value in"
