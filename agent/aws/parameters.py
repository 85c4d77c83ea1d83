"""Parameters of SSM: all below a path, in as few calls as the API allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.aws.failures import calling
from agent.dataclass import dataclass
from agent.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import GetParametersByPathRequestTypeDef

# The API's own limit.
_PAGE = 10


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter: its whole name (`/delphi/prod/api/REDIS_PORT`), and whether it is a SecureString."""

    name: str
    value: Secret
    secure: bool


class Parameters:
    """Reads parameters with a client of SSM."""

    def __init__(self, client: SSMClient) -> None:
        self._client = client

    def under(self, path: str) -> list[Parameter]:
        """Every parameter below `path`, however deep, decrypted, from all pages."""
        meta = self._client.meta
        resource = f"arn:{meta.partition}:ssm:{meta.region_name}:*:parameter{path}*"
        found: list[Parameter] = []
        request: GetParametersByPathRequestTypeDef = {
            "Path": path,
            "Recursive": True,
            "WithDecryption": True,
            "MaxResults": _PAGE,
        }
        while True:
            with calling(f"reading parameters under {path}", "ssm:GetParametersByPath", resource):
                # Page by page: a page's token is needed to ask for the next one.
                answer = self._client.get_parameters_by_path(**request)
            found += [
                Parameter(name=item["Name"], value=Secret(item["Value"]), secure=item["Type"] == "SecureString")
                for item in answer.get("Parameters", ())
            ]
            if not answer.get("NextToken"):
                return found
            request["NextToken"] = answer["NextToken"]
