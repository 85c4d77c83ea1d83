"""The registry's password, from ECR."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from agent.aws.failures import calling
from agent.dataclass import dataclass
from agent.errors import RegistryError
from agent.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_NAME = re.compile(r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.(amazonaws\.com(\.cn)?|on\.aws)")

# As the engine asks for what a tag names: an index of platforms, or one image, by Docker's or OCI's names.
MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "oci.image.index.v1",
    )
)


@dataclass(frozen=True)
class Login:
    """User and password of one registry; valid for some hours."""

    registry: str
    user: str
    password: Secret

    @property
    def authorization(self) -> str:
        """The header with which its registry is asked: ECR takes the pair as it is, without another token."""
        pair = f"{self.user}:{self.password.reveal()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def region_of(registry: str) -> str | None:
    """The region in the name of an ECR registry, None when the name is not one of ECR's."""
    match = _NAME.fullmatch(registry.partition("/")[0].lower())
    return match["region"] if match else None


def login(client: ECRClient, registry: str) -> Login:
    """Ask ECR for a token; it is good for every registry that the principal may use."""
    doing = f"asking ECR for a login to {registry}"
    with calling(doing, "ecr:GetAuthorizationToken", "*"):
        answer = client.get_authorization_token()
    for data in answer.get("authorizationData", ()):
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        return Login(registry.partition("/")[0], user, Secret(password))
    raise RegistryError(doing, "the answer holds no token", "run it again")
