"""Whose credentials these are, from STS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.aws.failures import calling, code_of, is_denied

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient


def caller(client: STSClient) -> str | None:
    """The ARN of who signs; None when a policy denies the question, which AWS by itself grants to everybody.

    Raises `AccessDenied` for credentials that AWS does not know.
    """
    from botocore.exceptions import ClientError

    action = "sts:GetCallerIdentity"
    with calling("asking STS whose credentials these are", action, "*"):
        try:
            return client.get_caller_identity()["Arn"]
        except ClientError as error:
            if is_denied(code_of(error)):
                return None
            raise
