"""What AWS answers, as a function of what is asked: the calls that the agent, the AWS CLI and the copying tools make.

Signatures are not looked at. What is not known here is refused by name: a measurement must not rest on a guess.
"""

from __future__ import annotations

import base64
import email.utils
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.bench.worlds import Item, World, secret_arn
from tests.lab.aws_model import ACCOUNT, BUCKET, REGION, REGISTRY

Json = Any

S3_PAGE, SSM_PAGE, SSM_NAMES, LIST_PAGE, BATCH = 1000, 10, 10, 100, 20
_JSON = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", "1"))
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_S3 = f"s3.{REGION}.amazonaws.com"
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
        text = f"{_XML}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        return Answer(operation, status, (("Content-Type", "application/xml"),), text.encode())
    document = json.dumps({"__type": code, "message": message}).encode()
    return Answer(operation, status, (("Content-Type", "application/x-amz-json-1.1"),), document)


def operation_of(asked: Asked) -> str:
    """The name that a request is counted by, without answering it; "refused" when it is not known."""
    if asked.action:
        prefix, _, action = asked.action.partition(".")
        return f"{_JSON_SERVICES.get(prefix, prefix)}:{action}"
    if asked.host.startswith("sts."):
        return "sts:GetCallerIdentity"
    if asked.host.endswith(_S3):
        names = {"HEAD": "HeadObject", "GET": "ListObjectsV2" if "list-type=2" in asked.target else "GetObject"}
        return f"s3:{names.get(asked.method, asked.method)}"
    return "refused"


class Answers:
    """Answers from one world; every answer is made once, and found again by what was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys = sorted(world.items)
        self._names = sorted(world.parameters)
        self._secrets = sorted(world.secrets)
        self._by_id = {key: name for name in self._secrets for key in (name, secret_arn(name))}
        self.answer: Callable[[Asked], Answer] = lru_cache(maxsize=20_000)(self._answer)

    def _answer(self, asked: Asked) -> Answer:
        actions: dict[str, Callable[[Json], Json]] = {
            "ssm:GetParametersByPath": self._by_path,
            "ssm:GetParameters": self._by_name,
            "secretsmanager:ListSecrets": self._list_secrets,
            "secretsmanager:BatchGetSecretValue": self._batch,
            "secretsmanager:GetSecretValue": self._secret,
            "ecr:GetAuthorizationToken": self._token,
        }
        operation = operation_of(asked)
        if operation in actions:
            document = actions[operation](json.loads(asked.body))
            if isinstance(document, Answer):
                return document
            return Answer(operation, 200, _JSON, json.dumps(document).encode())
        if operation.startswith("s3:"):
            return self._s3(asked)
        if operation.startswith("sts:") and b"Action=GetCallerIdentity" in asked.body:
            return _identity()
        return refused(asked)

    # S3

    def _s3(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.target)
        path = unquote(parts.path).lstrip("/")
        if asked.host == _S3:
            bucket, _, key = path.partition("/")
        else:
            bucket, key = asked.host.removesuffix(f".{_S3}"), path
        if bucket != BUCKET or asked.method not in {"GET", "HEAD"}:
            return refused(asked)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if not key:
            return self._listing(query) if query.get("list-type") == "2" else refused(asked)
        if query.keys() - {"x-id", "partNumber"}:
            return refused(asked)
        return self._object(asked, key)

    def _listing(self, query: Mapping[str, str]) -> Answer:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, most = query.get("continuation-token", query.get("start-after", "")), int(query.get("max-keys", S3_PAGE))
        entries: dict[str, bool] = {}
        for key in self._keys:
            if not key.startswith(prefix):
                continue
            head, cut, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
            entry = prefix + head + cut if cut else key
            if entry > start:
                entries[entry] = bool(cut)
        page = list(entries)[: min(most, S3_PAGE)]
        whole = len(page) == len(entries)
        coded = query.get("encoding-type") == "url"
        text = "".join(
            f"<CommonPrefixes><Prefix>{_key(name, coded)}</Prefix></CommonPrefixes>"
            if entries[name]
            else _contents(name, self._world.items[name], coded)
            for name in page
        )
        more = "" if whole or not page else f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        document = (
            f'{_XML}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{BUCKET}</Name>'
            f"<Prefix>{_key(prefix, coded)}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{most}</MaxKeys>"
            f"{'<EncodingType>url</EncodingType>' if coded else ''}"
            f"<IsTruncated>{'false' if whole else 'true'}</IsTruncated>{more}{text}</ListBucketResult>"
        )
        return Answer("s3:ListObjectsV2", 200, (("Content-Type", "application/xml"),), document.encode())

    def _object(self, asked: Asked, key: str) -> Answer:
        operation = "s3:HeadObject" if asked.method == "HEAD" else "s3:GetObject"
        item = self._world.items.get(key)
        if item is None:
            return error(operation, "NoSuchKey", key, 404)
        if asked.if_match.strip('"') not in ("", item.etag):
            return error(operation, "PreconditionFailed", key, 412)
        headers = [
            ("ETag", f'"{item.etag}"'),
            ("Last-Modified", email.utils.formatdate(item.modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "binary/octet-stream"),
            ("x-amz-server-side-encryption", "AES256"),
        ]
        if asked.checksum_mode.upper() == "ENABLED" and not asked.range:
            kind = "COMPOSITE" if "-" in item.checksum else "FULL_OBJECT"
            headers += [("x-amz-checksum-crc32", item.checksum), ("x-amz-checksum-type", kind)]
        size = len(item.body)
        first, last = _range(asked.range, size)
        if asked.range:
            headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        body = memoryview(item.body)[first : last + 1]
        if asked.method == "HEAD":
            return Answer(operation, 200, tuple(headers), b"", len(body))
        return Answer(operation, 206 if asked.range else 200, tuple(headers), body)

    # SSM

    def _by_path(self, request: Json) -> Json:
        path = request["Path"].rstrip("/") + "/"
        below = [name for name in self._names if name.startswith(path)]
        start, most = int(request.get("NextToken") or 0), min(request.get("MaxResults") or SSM_PAGE, SSM_PAGE)
        answer: dict[str, Json] = {"Parameters": [self._parameter(name) for name in below[start : start + most]]}
        if start + most < len(below):
            answer["NextToken"] = str(start + most)
        return answer

    def _by_name(self, request: Json) -> Json:
        names = request["Names"]
        if len(names) > SSM_NAMES:
            return error("ssm:GetParameters", "ValidationException", f"{len(names)} names")
        found = [self._parameter(name) for name in names if name in self._world.parameters]
        return {"Parameters": found, "InvalidParameters": [n for n in names if n not in self._world.parameters]}

    def _parameter(self, name: str) -> Json:
        arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}"
        plain = {"Name": name, "Type": "SecureString", "Value": self._world.parameters[name], "Version": 1}
        return {**plain, "LastModifiedDate": 1767225600.0, "ARN": arn, "DataType": "text"}

    # Secrets Manager

    def _list_secrets(self, request: Json) -> Json:
        prefixes = [value for item in request.get("Filters", ()) if item["Key"] == "name" for value in item["Values"]]
        found = [name for name in self._secrets if not prefixes or any(map(name.startswith, prefixes))]
        start, most = int(request.get("NextToken") or 0), min(request.get("MaxResults") or LIST_PAGE, LIST_PAGE)
        listed = [{"Name": name, "ARN": secret_arn(name)} for name in found[start : start + most]]
        return {"SecretList": listed, **({"NextToken": str(start + most)} if start + most < len(found) else {})}

    def _batch(self, request: Json) -> Json:
        ids = request.get("SecretIdList", [])
        if len(ids) > BATCH or not ids:
            return error("secretsmanager:BatchGetSecretValue", "ValidationException", f"{len(ids)} ids")
        missing = [id_ for id_ in ids if id_ not in self._by_id]
        code = "ResourceNotFoundException"
        return {
            "SecretValues": [self._value(id_) for id_ in ids if id_ in self._by_id],
            "Errors": [{"SecretId": id_, "ErrorCode": code, "Message": "not there"} for id_ in missing],
        }

    def _secret(self, request: Json) -> Json:
        if request["SecretId"] not in self._by_id:
            return error("secretsmanager:GetSecretValue", "ResourceNotFoundException", request["SecretId"])
        return self._value(request["SecretId"])

    def _value(self, id_: str) -> Json:
        name = self._by_id[id_]
        stages = {"VersionId": "11111111-1111-1111-1111-111111111111", "VersionStages": ["AWSCURRENT"]}
        text = self._world.secrets[name]
        return {"ARN": secret_arn(name), "Name": name, "SecretString": text, "CreatedDate": 1767225600.0, **stages}

    # ECR

    def _token(self, request: Json) -> Json:
        token = base64.b64encode(f"AWS:{self._world.password}".encode()).decode()
        expires = self._world.token_expires or time.time() + 12 * 3600
        data = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": f"https://{REGISTRY}"}
        return {"authorizationData": [data]}


def _identity() -> Answer:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/lab-role/i-0123456789abcdef0"
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{arn}</Arn><UserId>AROALAB:i-0123456789abcdef0</UserId><Account>{ACCOUNT}</Account>"
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )
    return Answer("sts:GetCallerIdentity", 200, (("Content-Type", "text/xml"),), text.encode())


def _key(text: str, coded: bool) -> str:  # noqa: FBT001 - what the request asked for
    return quote(text, safe="/") if coded else escape(text)


def _contents(key: str, item: Item, coded: bool) -> str:  # noqa: FBT001 - as above
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(item.modified))
    return (
        f"<Contents><Key>{_key(key, coded)}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>&quot;{item.etag}&quot;</ETag><Size>{len(item.body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _range(text: str, size: int) -> tuple[int, int]:
    """First and last byte of `bytes=A-B`; of the whole when nothing is asked for."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    return int(first or 0), min(int(last) if last else size - 1, size - 1)
