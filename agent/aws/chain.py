"""The rest of the SDK's chain: a web identity, or a container's credentials, by botocore's own providers.

They count when the bootstrap file has no static keys and their variables are set, in the bootstrap file or in the
agent's own environment; the metadata service is then not needed.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agent.aws import failures, key_id
from agent.aws.credentials import Credentials, Keys
from agent.aws.session import AwsSession
from agent.errors import AgentError, AwsError, BootstrapError
from agent.host.proxy import Proxies
from agent.secret import Secret

WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
ROLE_ARN = "AWS_ROLE_ARN"
RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


def find(variables: Mapping[str, str], region: str, proxies: Proxies) -> Credentials | None:
    """Credentials for which the variables are set, None when they are not; nothing is asked before the first use."""
    # An empty variable is one that is not set; botocore would take it for a value.
    given = {name: value for name, value in variables.items() if value}
    if WEB_IDENTITY in given:
        return _web_identity(given, region, proxies)
    if RELATIVE_URI in given or FULL_URI in given:
        return _container(given)
    return None


def account_of_role(arn: str) -> str | None:
    """The account in a role's ARN."""
    found = re.fullmatch(r"arn:[a-z-]+:iam::(\d{12}):role/.+", arn)
    return found[1] if found else None


def _web_identity(variables: Mapping[str, str], region: str, proxies: Proxies) -> Credentials:
    role = variables.get(ROLE_ARN, "")
    doing = f"assuming the role {role} with the web identity in {variables[WEB_IDENTITY]}"
    if not role:
        raise BootstrapError(
            f"reading {WEB_IDENTITY}",
            f"it is set and {ROLE_ARN} is not",
            f"set both, or remove {WEB_IDENTITY} so that the instance's role is used",
        )
    names = {
        "web_identity_token_file": WEB_IDENTITY,
        "role_arn": ROLE_ARN,
        "role_session_name": "AWS_ROLE_SESSION_NAME",
    }
    profile = {key: variables[name] for key, name in names.items() if name in variables}
    nobody = Credentials(source="none", fetch=lambda: Keys(Secret("none"), Secret("none")))
    session = AwsSession(region, nobody, proxies, variables)

    def load() -> object:
        from botocore.credentials import AssumeRoleWithWebIdentityProvider

        core: Any = AssumeRoleWithWebIdentityProvider
        # Not from the environment, which botocore reads by itself: the bootstrap file's variables count too.
        return core(
            load_config=lambda: {"profiles": {"bootstrap": profile}},
            client_creator=lambda _service, config: session.anonymous_sts(config),
            profile_name="bootstrap",
            disable_env_vars=True,
        ).load()

    return Credentials(
        source=f"web identity, role {role}",
        fetch=lambda: _keys(load, doing, "sts:AssumeRoleWithWebIdentity", role),
        account=account_of_role(role),
    )


def _container(variables: Mapping[str, str]) -> Credentials:
    name = RELATIVE_URI if RELATIVE_URI in variables else FULL_URI
    doing = f"asking the endpoint of {name} for the container's credentials"

    def load() -> object:
        from botocore.credentials import ContainerProvider

        core: Any = ContainerProvider
        return core(environ=variables).load()

    return Credentials(source=f"container credentials ({name})", fetch=lambda: _keys(load, doing, "", name))


def _keys(load: Callable[[], Any], doing: str, action: str, resource: str) -> Keys:
    """What a provider of botocore comes to now; whatever stands in its way is an `AgentError` with its next step."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        loaded = load()
        frozen = loaded.get_frozen_credentials()
        expires = loaded._expiry_time  # noqa: SLF001 - botocore's credentials have no public name for when they expire
    except ClientError as error:
        raise failures.translate(error, doing, action, resource) from error
    except BotoCoreError as error:
        raise _unusable(doing, type(error).__name__) from error
    except OSError as error:
        raise _unusable(doing, error.strerror or type(error).__name__) from error
    except (ValueError, KeyError, TypeError) as error:
        # botocore checks neither the address nor what an answer holds; its texts may hold the token.
        raise _unusable(doing, "the address is not allowed, or the answer is incomplete") from error
    return Keys(
        Secret(frozen.access_key),
        Secret(frozen.secret_key),
        Secret(frozen.token) if frozen.token else None,
        expires.isoformat() if expires else None,
    )


def _unusable(doing: str, cause: str) -> AgentError:
    return AwsError(
        doing,
        cause,
        "see that the token file can be read and the endpoint answers, then run it again; without these variables the"
        " instance's role is used",
    )


def account_of(credentials: Credentials, keys: Keys) -> str | None:
    """The account of `credentials`: the one that is known of their source, else the one in their key's id."""
    return credentials.account or key_id.account_of(keys.access_key_id.reveal())
