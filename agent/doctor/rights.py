"""The one table of what a run asks of AWS: which right each call needs, and on what."""

from __future__ import annotations

from agent.dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class Right:
    """One permission: its action, the calls of the agent that need it (`service:Action`), and on what.

    The names in braces in `resources` and `prefixes` are those of `policy.places`; one that has several values makes a
    resource of each. `optional`: a run does without it, by a way that it knows. `remote`: only when a variable may come
    from AWS; `images`: only when an image comes from ECR.
    """

    sid: str
    action: str
    calls: tuple[str, ...]
    resources: tuple[str, ...]
    prefixes: tuple[str, ...] = ()
    optional: bool = False
    remote: bool = False
    images: bool = False


_BUCKET = "arn:{partition}:s3:::{bucket}"
_SECRET = "arn:{partition}:secretsmanager:{region}:{account}:secret:{namespace}/{service}/*"  # noqa: S105 - a resource
_PATH = "arn:{partition}:ssm:{region}:{account}:parameter/{namespace}/{service}"
_BUNDLE = "deployments/{slug}/*/{folder}/*"
EVERY = "*"

# Any ref, since `update --config-ref` goes to another. `sts:GetCallerIdentity`, which only `doctor` calls, needs no
# permission. The last two are asked for by the Docker engine, with the token: they are no calls of the agent's own.
RIGHTS = (
    Right(
        sid="ListBundle", action="s3:ListBucket", calls=("s3:ListObjectsV2",), resources=(_BUCKET,), prefixes=(_BUNDLE,)
    ),
    Right(sid="ReadBundle", action="s3:GetObject", calls=("s3:GetObject",), resources=(f"{_BUCKET}/{_BUNDLE}",)),
    Right(
        sid="ReadParameters",
        action="ssm:GetParametersByPath",
        calls=("ssm:GetParametersByPath",),
        resources=(_PATH, f"{_PATH}/*"),
        remote=True,
    ),
    Right(
        sid="ListSecrets",
        action="secretsmanager:ListSecrets",
        calls=("secretsmanager:ListSecrets",),
        resources=(EVERY,),
        optional=True,
        remote=True,
    ),
    Right(
        sid="ReadSecretsAtOnce",
        action="secretsmanager:BatchGetSecretValue",
        calls=("secretsmanager:BatchGetSecretValue",),
        resources=(EVERY,),
        optional=True,
        remote=True,
    ),
    Right(
        sid="ReadSecrets",
        action="secretsmanager:GetSecretValue",
        calls=("secretsmanager:GetSecretValue",),
        resources=(_SECRET, "{external}"),
        remote=True,
    ),
    Right(
        sid="LogInToRegistry",
        action="ecr:GetAuthorizationToken",
        calls=("ecr:GetAuthorizationToken",),
        resources=(EVERY,),
        images=True,
    ),
    Right(sid="ReadManifests", action="ecr:BatchGetImage", calls=(), resources=("{repository}",), images=True),
    Right(sid="ReadLayers", action="ecr:GetDownloadUrlForLayer", calls=(), resources=("{repository}",), images=True),
)
