"""The one boto3 session of a run: its credentials, retries, timeouts, proxy and trust, and what its calls cost.

Retries are botocore's own (`standard` mode, full jitter) and are never wrapped a second time. Every HTTP request is
counted for the step that makes it.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from agent.aws.trust import authorities
from agent.host.proxy import Proxies
from agent.report import record
from agent.secret import Secret

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

CONNECT_SECONDS = 5
READ_SECONDS = 20
ATTEMPTS = 10
# How often a call is made whose answers are cut off.
CUT_OFF_ATTEMPTS = 4
# More connections do not pay on two cores.
CONNECTIONS = 16

_THROTTLES = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


@dataclass(frozen=True)
class Keys:
    """One set of credentials; `expires` (ISO 8601) when they are temporary."""

    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None = None
    expires: str | None = None


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Where the keys come from; `fetch` is called for the first and again before they expire."""

    source: str
    fetch: Callable[[], Keys] = field(repr=False)


class AwsSession:
    """Clients of one region by default; made once each, on first use. Safe across threads.

    `variables` are the bootstrap file's over the agent's own environment: like the scripts, which sourced the file,
    the agent honours AWS_ENDPOINT_URL*, AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT there.
    """

    def __init__(self, region: str, credentials: Credentials, proxies: Proxies, variables: Mapping[str, str]) -> None:
        self._region = region
        self._credentials = credentials
        self._proxies = proxies
        self._variables = variables
        self._clients: dict[tuple[str, str], object] = {}
        self._session: boto3.Session | None = None
        self._lock = threading.Lock()

    def s3(self) -> S3Client:
        """The client of S3."""
        return cast("S3Client", self._client("s3", self._region))

    def ssm(self) -> SSMClient:
        """The client of Parameter Store."""
        return cast("SSMClient", self._client("ssm", self._region))

    def secrets_manager(self, region: str | None = None) -> SecretsManagerClient:
        """The client of Secrets Manager in `region`."""
        return cast("SecretsManagerClient", self._client("secretsmanager", region or self._region))

    def ecr(self, region: str) -> ECRClient:
        """The client of ECR in the registry's region."""
        return cast("ECRClient", self._client("ecr", region))

    def _client(self, service: str, region: str) -> object:
        # boto3 does not allow two clients of a session to be made at the same time.
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._make(service, region)
            return self._clients[service, region]

    def _make(self, service: str, region: str) -> object:
        from botocore.config import Config  # noqa: PLC0415 - 0.15 s that a run which ends before AWS need not pay

        config = Config(
            region_name=region,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            proxies=self._proxy(service, region),
            user_agent_extra="delphi-agent",
            use_fips_endpoint=self._flag("AWS_USE_FIPS_ENDPOINT"),
            use_dualstack_endpoint=self._flag("AWS_USE_DUALSTACK_ENDPOINT"),
        )
        session: Any = self._boto()
        client = session.client(
            service, config=config, verify=authorities(self._variables), endpoint_url=self._endpoint(service)
        )
        client.meta.events.register("response-received", _count)
        if client.meta.service_model.metadata.get("protocol") == "json":
            client.meta.events.register("needs-retry", _cut_off)
        return cast("object", client)

    def _flag(self, name: str) -> bool | None:
        return True if self._variables.get(name, "").lower() == "true" else None

    def _endpoint(self, service: str) -> str | None:
        own = f"AWS_ENDPOINT_URL_{'SECRETS_MANAGER' if service == 'secretsmanager' else service.upper()}"
        return self._variables.get(own) or self._variables.get("AWS_ENDPOINT_URL") or None

    def _proxy(self, service: str, region: str) -> dict[str, str]:
        """What botocore is told: never None, or it would read the environment with Python's rules."""
        url = urllib.parse.urlsplit(self._endpoint(service) or f"https://{service}.{region}.amazonaws.com")
        tls = url.scheme == "https"
        proxy = self._proxies.for_host(url.hostname or "", url.port or (443 if tls else 80), tls=tls)
        return {} if proxy is None else {url.scheme: proxy.reveal()}

    def _boto(self) -> boto3.Session:
        if self._session is None:
            import boto3  # noqa: PLC0415 - a run that ends before AWS does not pay for it
            import botocore.configprovider  # noqa: PLC0415 - as boto3 above
            import botocore.session  # noqa: PLC0415 - as boto3 above

            core: Any = botocore.session.Session()
            # The agent's own environment is an operator's shell: a profile in it must not change what the host is.
            nothing: Any = botocore.configprovider.ConstantProvider(None)
            core.get_component("config_store").set_config_provider("profile", nothing)
            core._credentials = _sdk_credentials(self._credentials)  # noqa: SLF001 - there is no setter for refreshable credentials
            self._session = boto3.Session(botocore_session=core, region_name=self._region)
        return self._session


def _sdk_credentials(credentials: Credentials) -> object:
    import botocore.credentials  # noqa: PLC0415 - see AwsSession._make

    def fetch() -> dict[str, str | None]:
        keys = credentials.fetch()
        return {
            "access_key": keys.access_key_id.reveal(),
            "secret_key": keys.secret_access_key.reveal(),
            "token": keys.session_token.reveal() if keys.session_token else None,
            "expiry_time": keys.expires,
        }

    first = fetch()
    core: Any = botocore.credentials
    if first["expiry_time"] is None:
        return core.Credentials(first["access_key"], first["secret_key"], first["token"], method=credentials.source)
    return core.RefreshableCredentials.create_from_metadata(first, fetch, method=credentials.source)


def _count(
    response_dict: Mapping[str, Any] | None,
    parsed_response: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    **_: object,
) -> None:
    """Count one attempt of a call, answered or not; botocore calls this for each."""
    headers = (response_dict or {}).get("headers", {})
    code = (parsed_response or {}).get("Error", {}).get("Code", "")
    record.count(
        record.Costs(
            calls=1,
            retries=int(context.get("retries", {}).get("attempt", 1) > 1),
            throttled=int(code in _THROTTLES),
            received=int(headers.get("content-length", 0) or 0),
        )
    )


def _cut_off(response: tuple[Any, Any] | None, attempts: int, **_: object) -> float | None:
    """Ask botocore to try again, after this many seconds, when a good answer is no JSON.

    Its parser takes an answer that was cut off for an empty one, and a healthy project would be deployed with
    defaults. When it stays so, an error is raised in its place.
    """
    if response is None or response[0].status_code >= 300:  # noqa: PLR2004 - what HTTP calls success is below
        return None
    try:
        json.loads(response[0].content)
    except ValueError:
        if attempts < CUT_OFF_ATTEMPTS:
            return 0.2 * attempts
        from botocore.exceptions import ResponseStreamingError  # noqa: PLC0415 - loaded already when a call is made

        raise ResponseStreamingError(error="the answer is cut off: it is no whole JSON document") from None
    return None
