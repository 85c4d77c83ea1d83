"""Error answers in the format of each AWS protocol, so that an SDK sees the real error code."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from tests.lab.http_door import Reply

_QUERY_SERVICES = ("sts", "autoscaling", "cloudformation", "iam", "monitoring")


def error_reply(service: str, status: int, code: str, message: str) -> Reply:
    """An error of `service` as that service would send it."""
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if service == "s3":
        return _xml(status, f"<Error>{error}<RequestId>lab</RequestId></Error>")
    if service == "ec2":
        return _xml(status, f"<Response><Errors><Error>{error}</Error></Errors><RequestID>lab</RequestID></Response>")
    if service in _QUERY_SERVICES:
        return _xml(status, f"<ErrorResponse><Error>{error}</Error><RequestId>lab</RequestId></ErrorResponse>")
    body = json.dumps({"__type": code, "message": message}).encode()
    return Reply(status, body, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", "lab")])


def _xml(status: int, text: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Reply(status, body, [("Content-Type", "text/xml")])
