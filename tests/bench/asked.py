"""A request to AWS, and the answer to it, as far as measurements need to know them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.lab.aws_model import REGION

XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
S3_HOST = f"s3.{REGION}.amazonaws.com"
JSON_TYPE = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", "1"))
_JSON_SERVICES = {
    "AmazonSSM": "ssm",
    "secretsmanager": "secretsmanager",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}


@dataclass(frozen=True)
class Asked:
    """One request; headers that an answer may depend on are by their lower-case names, and "" when absent."""

    method: str
    host: str
    target: str
    body: bytes = b""
    action: str = ""
    """X-Amz-Target."""
    range: str = ""
    if_match: str = ""
    checksum_mode: str = ""


@dataclass(frozen=True)
class Answer:
    """`operation` is what it is counted as: "s3:GetObject"; `headers` are without length and date."""

    operation: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | memoryview = b""
    length: int | None = None
    """Of a body that is not sent (HEAD)."""


def refused(asked: Asked) -> Answer:
    """For what is not known here."""
    what = f"{asked.method} {asked.host}{asked.target} {asked.action} {asked.body[:200]!r}"
    return Answer("refused", 501, (("Content-Type", "text/plain"),), f"the stand-in does not know {what}\n".encode())


def error(operation: str, code: str, message: str = "made by the stand-in", status: int = 400) -> Answer:
    """An error in the format of the operation's service."""
    if operation.startswith("s3:"):
        text = f"{XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        return Answer(operation, status, (("Content-Type", "application/xml"),), text.encode())
    document = json.dumps({"__type": code, "message": message}).encode()
    return Answer(operation, status, JSON_TYPE, document)


def operation_of(asked: Asked) -> str:
    """The name that a request is counted by, without answering it; "refused" when it is not known."""
    if asked.action:
        prefix, _, action = asked.action.partition(".")
        return f"{_JSON_SERVICES.get(prefix, prefix)}:{action}"
    if asked.host.startswith("sts."):
        return "sts:GetCallerIdentity"
    if asked.host.endswith(S3_HOST):
        names = {"HEAD": "HeadObject", "GET": "ListObjectsV2" if "list-type=2" in asked.target else "GetObject"}
        return f"s3:{names.get(asked.method, asked.method)}"
    return "refused"
