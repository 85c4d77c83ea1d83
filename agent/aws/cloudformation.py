"""CloudFormation's signal: a stack that waits for its instances (CreationPolicy, UpdatePolicy) hears of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from agent.aws.failures import calling, code_of

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

Status = Literal["SUCCESS", "FAILURE"]

# The code for a stack or resource that is not there, or that does not wait; only its words tell them apart.
_NOT_WAITING = "ValidationError"


def signal(client: CloudFormationClient, stack: str, resource: str, unique: str, status: Status) -> str:
    """Tell the stack SUCCESS or FAILURE of its resource; empty when it was taken, else why AWS takes none now."""
    from botocore.exceptions import ClientError

    meta = client.meta
    arn = (
        stack
        if stack.startswith("arn:")
        else f"arn:{meta.partition}:cloudformation:{meta.region_name}:*:stack/{stack}/*"
    )
    doing = f"telling the stack {stack} {status} of {resource}"
    with calling(doing, "cloudformation:SignalResource", arn):
        try:
            client.signal_resource(StackName=stack, LogicalResourceId=resource, UniqueId=unique, Status=status)
        except ClientError as error:
            if code_of(error) == _NOT_WAITING:
                return str(error.response["Error"].get("Message", "")) or _NOT_WAITING
            raise
    return ""
