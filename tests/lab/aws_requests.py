"""Which API call an HTTP request to AWS is, and what it is about."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from urllib.parse import parse_qs, unquote

from tests.lab.http_door import Request

_SUBRESOURCES = {
    "tagging": "ObjectTagging",
    "attributes": "ObjectAttributes",
    "acl": "ObjectAcl",
    "versions": "ListObjectVersions",
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
}


@dataclasses.dataclass(frozen=True)
class ApiCall:
    service: str
    action: str
    resources: tuple[str, ...]
    """Names as the service knows them: bucket/key, parameter paths or names, secret ids."""

    @property
    def resource(self) -> str:
        return ",".join(self.resources)

    @property
    def name(self) -> str:
        return f"{self.service}:{self.action}"


def identify(request: Request) -> ApiCall:
    """The API call that `request` makes."""
    service = _service(request)
    if service == "s3":
        return _s3(request)
    target = request.headers.get("x-amz-target")
    if target:
        fields: dict[str, object] = {}
        with contextlib.suppress(ValueError):
            fields = json.loads(request.body or b"{}")
        return ApiCall(service, target.rpartition(".")[2], tuple(_named(fields)))
    form = parse_qs(request.body.decode("latin-1")) or parse_qs(request.query)
    action = form.get("Action", [f"{request.method} {request.path}"])[0]
    names = [form[key][0] for key in ("AutoScalingGroupName", "StackName") if key in form]
    return ApiCall(service, action, tuple(names))


def _service(request: Request) -> str:
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", request.headers.get("authorization", ""))
    if scope:
        return scope.group(1)
    # Unsigned: the host's name says it (s3.eu-west-1..., bucket.s3.eu-west-1..., sts.amazonaws.com).
    host = request.headers.get("host", "")
    return "s3" if ".s3." in f".{host}" else host.partition(".")[0]


def _named(fields: dict[str, object]) -> list[str]:
    for key in ("Path", "Name", "Names", "SecretId", "SecretIdList", "KeyId", "repositoryName"):
        value = fields.get(key)
        if value:
            return [str(item) for item in value] if isinstance(value, list) else [str(value)]
    filters = fields.get("Filters")
    if isinstance(filters, list):
        return [str(value) for item in filters for value in item.get("Values", [])]
    return []


def _s3(request: Request) -> ApiCall:
    host = request.headers.get("host", "")
    path = unquote(request.path).lstrip("/")
    virtual = re.match(r"(.+)\.s3\.([a-z0-9-]+\.)?amazonaws\.com", host)
    bucket, key = (virtual.group(1), path) if virtual else path.split("/", 1) if "/" in path else (path, "")
    query = parse_qs(request.query, keep_blank_values=True)
    if not bucket:
        return ApiCall("s3", "ListBuckets", ())
    if not key:
        prefix = query.get("prefix", [""])[0]
        return ApiCall("s3", _bucket_action(request.method, query), (f"{bucket}/{prefix}",))
    return ApiCall("s3", _object_action(request, query), (f"{bucket}/{key}",))


def _bucket_action(method: str, query: dict[str, list[str]]) -> str:
    if method == "GET":
        special = next((name for key, name in _SUBRESOURCES.items() if key in query), None)
        return special or ("ListObjectsV2" if query.get("list-type") == ["2"] else "ListObjects")
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    return {"HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(method, f"{method}Bucket")


def _object_action(request: Request, query: dict[str, list[str]]) -> str:
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete", "HEAD": "Head"}.get(request.method, request.method.title())
    special = next((name for key, name in _SUBRESOURCES.items() if key in query), "Object")
    if request.method == "PUT" and "partNumber" in query:
        return "UploadPart"
    if request.method == "PUT" and "x-amz-copy-source" in request.headers:
        return "CopyObject"
    return verb + special
