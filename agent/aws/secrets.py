"""Secrets of Secrets Manager: names below a prefix, and values, in batches or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.aws.failures import calling, code_of, from_code, is_denied, is_passing, translate
from agent.dataclass import dataclass
from agent.errors import AccessDenied
from agent.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import (
        BatchGetSecretValueRequestTypeDef,
        GetSecretValueResponseTypeDef,
        ListSecretsRequestTypeDef,
        SecretValueEntryTypeDef,
    )

# The API's own limits.
BATCH = 20
_PAGE = 100
_ABSENT = "ResourceNotFoundException"
# Of the states that this code stands for, the only one in which a secret cannot be read.
_DELETED = "InvalidRequestException"
_GET = "secretsmanager:GetSecretValue"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of asking for one secret by name or ARN: its text, or why not, or (both None) that there is none.

    One that is `deleted` still exists until its recovery window is over, but gives nothing. `unlisted` is why nobody
    may read one that counts as not there, since only its name was guessed (`agent.variables.lookup`).
    """

    asked: str
    text: Secret | None = None
    denied: AccessDenied | None = None
    deleted: bool = False
    unlisted: AccessDenied | None = None


class Secrets:
    """Reads secrets with a client of Secrets Manager, in the client's region."""

    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client

    def names(self, prefix: str) -> list[str]:
        """The names of all secrets that start with `prefix`, from all pages. Raises `AccessDenied`."""
        names: list[str] = []
        request: ListSecretsRequestTypeDef = {"Filters": [{"Key": "name", "Values": [prefix]}], "MaxResults": _PAGE}
        while True:
            with calling(f"listing secrets under {prefix}", "secretsmanager:ListSecrets", "*"):
                answer = self._client.list_secrets(**request)
            # The filter ignores case and splits into words; only the exact prefix counts here.
            names += [item["Name"] for item in answer.get("SecretList", ()) if item["Name"].startswith(prefix)]
            if not answer.get("NextToken"):
                return names
            request["NextToken"] = answer["NextToken"]

    def batch(self, ids: Sequence[str]) -> list[Answer]:
        """The secrets with these names or ARNs (at most `BATCH`). Raises `AccessDenied` when batches are denied."""
        answers: dict[str, Answer] = {}
        request: BatchGetSecretValueRequestTypeDef = {"SecretIdList": list(ids)}
        more = True
        while more:
            with calling(f"reading {len(ids)} secrets", "secretsmanager:BatchGetSecretValue", "*"):
                page = self._client.batch_get_secret_value(**request)
            for item in page.get("SecretValues", ()):
                for asked in _asked_by(item["Name"], item["ARN"], ids):
                    answers[asked] = Answer(asked=asked, text=_text(item))
            # What may pass is asked for by itself: there it is tried again, and a batch is not.
            for error in (item for item in page.get("Errors", ()) if not is_passing(item.get("ErrorCode", ""))):
                for asked in _asked_by(error.get("SecretId", ""), error.get("SecretId", ""), ids):
                    answers[asked] = self._failed(asked, error.get("ErrorCode", ""), error.get("Message", ""))
            request["NextToken"] = page.get("NextToken", "")
            more = bool(request["NextToken"])
        # One that the answer passes over in silence is asked for by itself.
        return [answers.get(asked) or self.one(asked) for asked in ids]

    def one(self, asked: str) -> Answer:
        """The secret with this name or ARN."""
        from botocore.exceptions import ClientError

        doing, resource = f"reading secret {asked}", self._resource(asked)
        with calling(doing, _GET, resource):
            try:
                return Answer(asked=asked, text=_text(self._client.get_secret_value(SecretId=asked)))
            except ClientError as error:
                if code_of(error) in (_ABSENT, _DELETED):
                    return Answer(asked=asked, deleted=code_of(error) == _DELETED)
                failure = translate(error, doing, _GET, resource)
                if isinstance(failure, AccessDenied) and is_denied(code_of(error)):
                    return Answer(asked=asked, denied=failure)
                raise failure from error

    def _failed(self, asked: str, code: str, message: str) -> Answer:
        if code in (_ABSENT, _DELETED):
            return Answer(asked=asked, deleted=code == _DELETED)
        failure = from_code(code, message, f"reading secret {asked}", _GET, self._resource(asked))
        if isinstance(failure, AccessDenied) and is_denied(code):
            return Answer(asked=asked, denied=failure)
        raise failure

    def _resource(self, asked: str) -> str:
        """What a statement must allow: the ARN, or every secret beside the one of this name."""
        if asked.startswith("arn:"):
            return asked
        meta = self._client.meta
        return f"arn:{meta.partition}:secretsmanager:{meta.region_name}:*:secret:{asked.rpartition('/')[0]}/*"


def _text(item: SecretValueEntryTypeDef | GetSecretValueResponseTypeDef) -> Secret:
    """A secret's text; one that is stored as bytes is read as UTF-8, with other bytes kept (PEP 383)."""
    if "SecretString" in item:
        return Secret(item["SecretString"])
    return Secret(bytes(item.get("SecretBinary", b"")).decode("utf-8", "surrogateescape"))


def _asked_by(name: str, arn: str, ids: Sequence[str]) -> list[str]:
    """Which of `ids` mean the secret: its name, its ARN, or its ARN without the six characters that AWS adds."""
    return [asked for asked in ids if asked in (name, arn) or (asked.startswith("arn:") and arn[:-7] == asked)]
