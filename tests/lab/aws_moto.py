"""moto as an application, with what it lacks (or does unlike AWS) put right for the calls that the agent makes."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import sys
import threading
from typing import Any
from urllib.parse import unquote_to_bytes

from moto.backends import get_backend
from moto.core.responses import ActionResult
from moto.ecr.responses import ECRResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.secretsmanager.exceptions import ValidationException
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.sts.responses import TokenResponse

from tests.lab.aws_model import ACCOUNT, REGION, REGISTRY
from tests.lab.aws_policy import ROLE_SESSION, Policy, denied
from tests.lab.aws_signals import Waiting
from tests.lab.http_door import Reply, Request

BATCH_LIMIT = 20
"""AWS's limit for BatchGetSecretValue, both for ids asked for and for values in an answer."""


class Account:
    """What the answers depend on beside moto's own state; the control door changes it."""

    def __init__(self) -> None:
        self.registry_password = ""
        self.token_seconds = 12 * 3600.0
        self.policy: Policy | None = None
        self.waiting = Waiting()
        self.door = threading.local()
        """`enforced` is true in a thread that answers the machine, unlike one that answers the test."""

    def enforced_policy(self) -> Policy | None:
        return self.policy if getattr(self.door, "enforced", False) else None


account = Account()


def secret_arn(secret_id: str) -> str:
    """The ARN of a secret; of one that does not exist, as AWS names it when it looks for a permission."""
    secret = get_backend("secretsmanager")[ACCOUNT][REGION].secrets.get(secret_id)
    if secret is not None:
        return str(secret.arn)
    if secret_id.startswith("arn:"):
        return secret_id
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secret_id}"


def _get_authorization_token(_: ECRResponse) -> ActionResult:
    token = base64.b64encode(f"AWS:{account.registry_password}".encode()).decode()
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=account.token_seconds)
    data = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": f"https://{REGISTRY}"}
    return ActionResult({"authorizationData": [data]})


def _get_caller_identity(self: TokenResponse) -> ActionResult:
    """Temporary keys are the instance's role, whose credentials the metadata service gives; others are a user's."""
    if str(self.get_access_key()).startswith("ASIA"):
        arn, user = ROLE_SESSION, f"AROALABLABLABLABLAB1:{ROLE_SESSION.rpartition('/')[2]}"
    else:
        arn, user = f"arn:aws:iam::{ACCOUNT}:user/lab", "AIDALABLABLABLABLAB1"
    return ActionResult({"UserId": user, "Account": ACCOUNT, "Arn": arn})


def _batch_get_secret_value(self: SecretsManagerResponse) -> str:
    ids: list[str] = self._get_param("SecretIdList", if_none=[])
    if len(ids) > BATCH_LIMIT:
        raise ValidationException(f"'secretIdList' must have length less than or equal to {BATCH_LIMIT}")
    start, size = int(self._get_param("NextToken") or 0), self._get_int_param("MaxResults") or BATCH_LIMIT
    values, errors, _ = self.backend.batch_get_secret_value(
        secret_id_list=ids, filters=self._get_param("Filters", if_none=[]), max_results=None, next_token=None
    )
    values, refused = _permitted(values)
    answer: dict[str, Any] = {"SecretValues": values[start : start + size], "Errors": [*errors, *refused]}
    if start + size < len(values):
        answer["NextToken"] = str(start + size)
    return json.dumps(answer)


def _permitted(values: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """AWS asks for GetSecretValue on each secret of a batch, and reports a refusal beside the others' values."""
    policy, permission = account.enforced_policy(), "secretsmanager:GetSecretValue"
    refused = [value for value in values if policy is not None and not policy.allows(permission, value["ARN"])]
    errors = []
    for value in refused:
        message = json.loads(denied("secretsmanager", permission, value["ARN"]).body)["message"]
        errors.append({"SecretId": value["ARN"], "ErrorCode": "AccessDeniedException", "Message": message})
    return [value for value in values if value not in refused], errors


def _patch_moto() -> None:
    for owner, name, replacement in (
        (ECRResponse, "get_authorization_token", _get_authorization_token),
        (TokenResponse, "get_caller_identity", _get_caller_identity),
        (SecretsManagerResponse, "batch_get_secret_value", _batch_get_secret_value),
    ):
        setattr(owner, name, replacement)


_patch_moto()
_application = DomainDispatcherApplication(create_backend_app)


def answer(request: Request) -> Reply:
    """moto's answer to a request."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> None:
        started.append((status, headers))

    body = b"".join(_application(_environ(request), start_response))
    status, headers = started[-1]
    # Of a HEAD request moto's length is the object's and must stay; of all others the door's own count is the truth.
    kept = [h for h in headers if request.method == "HEAD" or h[0].lower() != "content-length"]
    return Reply(int(status.split()[0]), body, kept)


def _environ(request: Request) -> dict[str, Any]:
    host = request.headers.get("host", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _decoded(request.path),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "REQUEST_URI": request.target,
        "SERVER_NAME": host.partition(":")[0] or "localhost",
        "SERVER_PORT": host.partition(":")[2] or ("443" if request.scheme == "https" else "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name not in ("content-type", "content-length", "transfer-encoding"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _decoded(path: str) -> str:
    """WSGI wants the decoded path as latin-1 characters, one per byte."""
    return unquote_to_bytes(path).decode("latin-1")
