"""Clients of SSM and Secrets Manager that know only the calls and arguments that the agent is meant to make."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from agent.aws.parameters import Parameters
from agent.aws.secrets import Secrets

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

PRINCIPAL = "arn:aws:sts::123456789012:assumed-role/delphi-api/i-0abc"


def refusal(operation: str, code: str, message: str = "", status: int = 400) -> ClientError:
    """The error that botocore raises for an answer with this code."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]  # the stubs want every field of an answer
        operation,
    )


def denied(operation: str, action: str) -> ClientError:
    """AWS's words for a missing permission."""
    message = f"User: {PRINCIPAL} is not authorized to perform: {action} on resource: arn:aws:x:::y because no policy"
    return refusal(operation, "AccessDeniedException", message)


@dataclass(frozen=True)
class Meta:
    """What the adapters read of a client's `meta`."""

    region_name: str = "eu-central-1"
    partition: str = "aws"


@dataclass
class FakeSsm:
    """Parameters by name; `page` at a time. Names in `plain` are not SecureStrings."""

    parameters: dict[str, str] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    page: int = 10
    fails: ClientError | None = None
    calls: list[str] = field(default_factory=list)
    meta: Meta = Meta()

    def get_parameters_by_path(
        self,
        *,
        Path: str,  # noqa: N803 - the SDK's names
        Recursive: bool,  # noqa: N803 - the name is AWS's
        WithDecryption: bool,  # noqa: N803 - the name is AWS's
        MaxResults: int,  # noqa: N803 - the name is AWS's
        NextToken: str = "0",  # noqa: N803 - the name is AWS's
    ) -> dict[str, object]:
        assert Path.startswith("/")
        assert Path.endswith("/")
        assert Recursive
        assert WithDecryption
        assert MaxResults == 10
        self.calls.append("GetParametersByPath")
        if self.fails:
            raise self.fails
        start = int(NextToken)
        names = sorted(name for name in self.parameters if name.startswith(Path))
        chosen = [
            {"Name": name, "Value": self.parameters[name], "Type": "String" if name in self.plain else "SecureString"}
            for name in names[start : start + self.page]
        ]
        more = {"NextToken": str(start + self.page)} if start + self.page < len(names) else {}
        return {"Parameters": chosen, **more}


@dataclass
class FakeSecretsManager:
    """Secrets by name (text or bytes); `hidden` ones are not in the list yet; `refuses` says which calls are denied.

    `refuses` holds actions (`ListSecrets`, `BatchGetSecretValue`) and names or ARNs whose value may not be read.
    """

    secrets: dict[str, str | bytes] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    page: int = 3
    silent: frozenset[str] = frozenset()
    code: str = "AccessDeniedException"
    calls: list[str] = field(default_factory=list)
    meta: Meta = Meta()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _count(self, call: str) -> None:
        with self.lock:
            self.calls.append(call)

    def list_secrets(
        self,
        *,
        Filters: list[dict[str, Any]],  # noqa: N803 - the name is AWS's
        MaxResults: int,  # noqa: N803 - the name is AWS's
        NextToken: str = "0",  # noqa: N803 - the name is AWS's
    ) -> dict[str, object]:
        assert MaxResults == 100
        ((key, (prefix,)),) = [(entry["Key"], entry["Values"]) for entry in Filters]
        assert key == "name"
        self._count("ListSecrets")
        if "ListSecrets" in self.refuses:
            raise denied("ListSecrets", "secretsmanager:ListSecrets")
        # AWS's filter ignores case.
        names = [name for name in sorted(self.secrets) if name.lower().startswith(prefix.lower())]
        names = [name for name in names if name not in self.hidden]
        start = int(NextToken)
        more = {"NextToken": str(start + self.page)} if start + self.page < len(names) else {}
        return {"SecretList": [{"Name": name} for name in names[start : start + self.page]], **more}

    def batch_get_secret_value(self, *, SecretIdList: list[str], NextToken: str = "0") -> dict[str, object]:  # noqa: N803 - the name is AWS's
        assert 1 <= len(SecretIdList) <= 20
        assert len(set(SecretIdList)) == len(SecretIdList)
        self._count(f"BatchGetSecretValue({len(SecretIdList)})")
        if "BatchGetSecretValue" in self.refuses:
            raise denied("BatchGetSecretValue", "secretsmanager:BatchGetSecretValue")
        start = int(NextToken)
        values: list[dict[str, object]] = []
        errors: list[dict[str, str]] = []
        for asked in SecretIdList[start : start + self.page]:
            try:
                if asked not in self.silent:
                    values.append(self._value(asked))
            except ClientError as error:
                details = error.response["Error"]
                errors.append({"SecretId": asked, "ErrorCode": details["Code"], "Message": details["Message"]})
        more = {"NextToken": str(start + self.page)} if start + self.page < len(SecretIdList) else {}
        return {"SecretValues": values, "Errors": errors, **more}

    def get_secret_value(self, *, SecretId: str) -> dict[str, object]:  # noqa: N803 - the name is AWS's
        self._count(f"GetSecretValue({SecretId})")
        return self._value(SecretId)

    def _value(self, asked: str) -> dict[str, object]:
        name = asked.rpartition(":secret:")[2]
        if asked in self.refuses:
            message = (
                f"User: {PRINCIPAL} is not authorized to perform: secretsmanager:GetSecretValue on resource: {asked}"
            )
            raise refusal("GetSecretValue", self.code, message)
        if name not in self.secrets:
            raise refusal("GetSecretValue", "ResourceNotFoundException")
        value = self.secrets[name]
        kind = "SecretString" if isinstance(value, str) else "SecretBinary"
        arn = asked if asked.startswith("arn:") else arn_of(name)
        return {"Name": name, "ARN": arn, kind: value}


def arn_of(name: str, region: str = "eu-central-1") -> str:
    """The ARN of a secret of the fake."""
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:{name}"


def parameters_of(ssm: FakeSsm) -> Callable[[], Parameters]:
    """What `look_up` takes for SSM."""
    return lambda: Parameters(cast("SSMClient", ssm))


def secrets_of(*managers: FakeSecretsManager) -> Callable[[str], Secrets]:
    """What `look_up` takes for Secrets Manager: the fake of the region."""
    by_region = {manager.meta.region_name: manager for manager in managers}
    return lambda region: Secrets(cast("SecretsManagerClient", by_region[region]))


def all_calls(managers: Sequence[FakeSecretsManager], ssm: FakeSsm) -> list[str]:
    """Every call that was made, sorted, since they are made side by side."""
    return sorted([*ssm.calls, *(call for manager in managers for call in manager.calls)])
