"""The example deployment: what is in AWS and in the bootstrap file of an instance with the role "api".

Every secret value is a canary: a string that occurs nowhere else, so that a test can look for it where it must not be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab import imds, registry
from tests.lab.aws import Aws
from tests.lab.aws_model import ACCOUNT, BUCKET, REGION, REGISTRY
from tests.lab.machine import Machine

SLUG = "delphi"
REF = "v1"
ROLE = "api"
TAG = "1.4.2"
NAMESPACE = "delphi/prod"
PREFIX = f"deployments/{SLUG}"
BOOTSTRAP_FILE = "/opt/deployment/.env"
BUNDLE = Path(__file__).parent / "bundle"

PARAMETERS = {
    "LOG_LEVEL": "debug",
    "OTEL_BACKEND_HOST": "10.0.1.10",
    "REDIS_HOST": "10.0.1.20",
    "DATABASE_HOST": "10.0.1.30",
    "AUTH_WITH_MICROSOFT": "true",
    "AUTH_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
}
SECRETS = {
    "AUTH_CLIENT_SECRET": "CANARYauthClientSecret8hJ1",
    "JWT_SIGNING_KEY": "CANARYjwtSigningKey'\"$5rW6",
    "REDIS_PASSWORD": "CANARYredisPassword:/@#2bN9",
}
DATABASE_SECRET = {"username": "delphi_admin", "password": "CANARYdatabasePassword6yD4"}
LICENSE_KEY = "CANARYlicenseKey-1cV8"

DATABASE_SECRET_NAME = "rds!cluster-0a1b2c3d"
LICENSE_SECRET_NAME = "shared/license"


def canaries() -> dict[str, str]:
    """Name -> value of everything that is secret in the example."""
    return {
        **SECRETS,
        "DATABASE_PASSWORD": DATABASE_SECRET["password"],
        "LICENSE_KEY": LICENSE_KEY,
        "registry token": registry.PASSWORD,
        "role secret key": imds.ROLE_SECRET_KEY,
        "role session token": imds.ROLE_SESSION_TOKEN,
    }


class World:
    """The seeded example; seed() puts it into an empty account."""

    def __init__(self, machine: Machine, aws: Aws) -> None:
        self._machine, self._aws = machine, aws
        self.database_secret_arn = ""
        self.license_secret_arn = ""

    def seed(self) -> None:
        location: Any = {"LocationConstraint": REGION}
        self._aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
        self.upload_bundle()
        for name, value in PARAMETERS.items():
            self.put_parameter(name, value)
        self.put_secret(f"{NAMESPACE}/{ROLE}/secrets", SECRETS)
        self.database_secret_arn = self.put_secret(DATABASE_SECRET_NAME, DATABASE_SECRET)
        self.license_secret_arn = self.put_secret(LICENSE_SECRET_NAME, LICENSE_KEY)
        self._aws.set_registry_token(registry.PASSWORD)

    def upload_bundle(self, ref: str = REF, changes: Mapping[str, str | None] | None = None, slug: str = SLUG) -> None:
        """Upload the example bundle as `ref`; `changes` replaces files ("api/Caddyfile") or, with None, omits them."""
        files = {str(path.relative_to(BUNDLE)): path.read_text() for path in BUNDLE.rglob("*") if path.is_file()}
        for name, text in {**files, **(changes or {})}.items():
            if text is not None:
                self.put_file(name, text, ref, slug)

    def put_file(self, name: str, text: str | bytes, ref: str = REF, slug: str = SLUG) -> None:
        """Store one file of the bundle, named from the top: api/vars.yaml, common/x.yaml."""
        body = text.encode() if isinstance(text, str) else text
        self._aws.client("s3").put_object(Bucket=BUCKET, Key=f"deployments/{slug}/{ref}/{name}", Body=body)

    def delete_file(self, name: str, ref: str = REF) -> None:
        self._aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{ref}/{name}")

    def put_parameter(self, name: str, value: str, kind: str = "SecureString") -> None:
        """Set a parameter of the role (a name without slash), or one anywhere."""
        path = name if name.startswith("/") else f"/{NAMESPACE}/{ROLE}/{name}"
        self._aws.client("ssm").put_parameter(Name=path, Value=value, Type=kind, Overwrite=True)

    def delete_parameter(self, name: str) -> None:
        self._aws.client("ssm").delete_parameter(Name=f"/{NAMESPACE}/{ROLE}/{name}")

    def put_secret(self, name: str, value: str | Mapping[str, str]) -> str:
        """Create a secret, or give it a new value; returns its ARN."""
        client = self._aws.client("secretsmanager")
        text = value if isinstance(value, str) else json.dumps(dict(value))
        try:
            arn: str = client.create_secret(Name=name, SecretString=text)["ARN"]
        except client.exceptions.ResourceExistsException:
            arn = client.put_secret_value(SecretId=name, SecretString=text)["ARN"]
        return arn

    def bootstrap_env(self, **changes: str | None) -> dict[str, str]:
        """The variables of the bootstrap file; `changes` replaces some or, with None, leaves them out."""
        variables: dict[str, str | None] = {
            "ENVIRONMENT": "prod",
            "HOSTNAME": "api-1",
            "SERVER_ROLE": ROLE,
            "ECR_REGISTRY": REGISTRY,
            "ECR_TAG": TAG,
            "CONFIG_BUCKET": BUCKET,
            "CONFIG_REF": REF,
            "CONFIG_SLUG": SLUG,
            "NAMESPACE": NAMESPACE,
            "AWS_REGION": REGION,
            "DB_MASTER_SECRET_ARN": self.database_secret_arn,
            "LICENSE_SECRET_ARN": self.license_secret_arn,
        }
        return {name: value for name, value in {**variables, **changes}.items() if value is not None}

    def write_bootstrap(self, env: Mapping[str, str] | None = None) -> None:
        """Write the bootstrap file as cloud-init does; its values need no quoting."""
        file = self._machine.path(BOOTSTRAP_FILE)
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}\n" for name, value in (env or self.bootstrap_env()).items()]
        file.write_text("# Written by cloud-init.\n" + "".join(lines))
        file.chmod(0o600)

    def role_policy(self) -> dict[str, Any]:
        """The IAM policy that the platform's documentation asks for (and the rights that its table leaves out)."""
        parameters = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{NAMESPACE}/{ROLE}"
        secrets = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{NAMESPACE}/{ROLE}/*"
        external = [self.database_secret_arn, self.license_secret_arn]
        bucket = f"arn:aws:s3:::{BUCKET}"
        in_prefix = {"StringLike": {"s3:prefix": f"{PREFIX}/*"}}
        any_secret = ["secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue"]
        statements = [
            _allow("s3:ListBucket", bucket) | {"Condition": in_prefix},
            _allow("s3:GetObject", f"{bucket}/{PREFIX}/*"),
            _allow("ssm:GetParametersByPath", [parameters, f"{parameters}/*"]),
            _allow("secretsmanager:GetSecretValue", [secrets, *external]),
            _allow([*any_secret, "ecr:GetAuthorizationToken", "sts:GetCallerIdentity"], "*"),
        ]
        return {"Version": "2012-10-17", "Statement": statements}


def _allow(action: str | list[str], resource: str | list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}
