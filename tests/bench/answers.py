"""What AWS answers, as a function of what is asked: the calls that the agent, the AWS CLI and the copying tools make.

Signatures are not looked at. What is not known here is refused by name: a measurement must not rest on a guess.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import lru_cache

from tests.bench.asked import JSON_TYPE, Answer, Asked, error, operation_of, refused
from tests.bench.bucket import Bucket
from tests.bench.worlds import World, secret_arn
from tests.lab.aws_model import ACCOUNT, REGION, REGISTRY, Json

__all__ = ["Answer", "Answers", "Asked", "error", "operation_of"]

SSM_PAGE, SSM_NAMES, LIST_PAGE, BATCH = 10, 10, 100, 20


class Answers:
    """Answers from one world; every answer is made once, and found again by what was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bucket = Bucket(world.items)
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
            return Answer(operation, 200, JSON_TYPE, json.dumps(document).encode())
        if operation.startswith("s3:"):
            return self._bucket.answer(asked)
        if operation.startswith("sts:") and b"Action=GetCallerIdentity" in asked.body:
            return _identity()
        return refused(asked)

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
