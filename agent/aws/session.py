"""The one session of a run with AWS: a client for each service, with the run's retries, timeouts, proxy and trust.

Retries are made by botocore when `retrying` says so, and by nobody else. Every HTTP request is counted for the step
that makes it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from agent.aws.attempts import Attempts
from agent.aws.credentials import Credentials
from agent.aws.retrying import Retrying
from agent.aws.sdk import Sdk
from agent.aws.trust import Authorities, authorities
from agent.host.clock import Deadline
from agent.host.proxy import Proxies

if TYPE_CHECKING:
    import ssl

    from botocore.config import Config
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

    from agent.aws.connections import Connections
    from agent.aws.direct import DirectReads

CONNECT_SECONDS = 5
READ_SECONDS = 20
HASTY_SECONDS = 1.2
# That are kept: for the most downloads at once (`agent.steps.crew`), and the calls beside them.
CONNECTIONS = 40


class AwsSession:
    """Clients of one region by default; made once each, on first use. Safe across threads.

    `BootstrapError` where what it is given makes no client: a region that is none, or an address.

    `variables` are the bootstrap file's over the agent's own environment: like the scripts, which sourced the file,
    the agent honours AWS_ENDPOINT_URL*, AWS_CA_BUNDLE, AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT there.
    A `hasty` one asks once more at most, and does not wait long: for who asks whether AWS can be reached at all.
    No pause is begun that outlasts `deadline`: then what AWS said last is told. `place` is for an instance that boots.
    """

    def __init__(
        self,
        region: str,
        credentials: Credentials,
        proxies: Proxies,
        variables: Mapping[str, str],
        *,
        hasty: bool = False,
        deadline: Deadline | None = None,
        place: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.place = place
        """Where an instance that boots stands in its fleet, None for all others."""
        self._retrying = Retrying(deadline, place=place, hasty=hasty, chance=chance)
        self._hasty = hasty
        self.moved: dict[str, str] = {}
        """The buckets that were found in another region than the session's, with that region."""
        self._region = region
        self._sdk = Sdk(credentials, variables)
        self._proxies = proxies
        self._variables = variables
        self._clients: dict[tuple[str, str], object] = {}
        self._connections: Connections | None = None
        self._direct: DirectReads | None = None
        self._lock = threading.Lock()

    def s3(self) -> S3Client:
        """The client of S3."""
        return cast("S3Client", self._client("s3", self._region))

    def direct_reads(self) -> DirectReads:
        """What reads the objects of the bucket that was listed last with `s3`'s client."""
        client = self.s3()
        with self._lock:
            if self._direct is None:
                from agent.aws.direct import DirectReads  # noqa: PLC0415 - HTTP code that a run without a bundle does not use
                from agent.aws.sigv4 import HeldKeys  # noqa: PLC0415 - signing code that a run without a bundle does not use

                keys = HeldKeys(self._sdk.held())
                self._direct = DirectReads(
                    self.trust, keys.of, self._proxies, connecting=CONNECT_SECONDS, waiting=READ_SECONDS
                )
                self._direct.watch(client)
            return self._direct

    @property
    def trust(self) -> ssl.SSLContext | None:
        """The TLS context of the clients; None before the first is made, and where its authorities cannot be read."""
        return None if self._connections is None else self._connections.trust

    def ssm(self) -> SSMClient:
        """The client of Parameter Store."""
        return cast("SSMClient", self._client("ssm", self._region))

    def secrets_manager(self, region: str | None = None) -> SecretsManagerClient:
        """The client of Secrets Manager in `region`."""
        return cast("SecretsManagerClient", self._client("secretsmanager", region or self._region))

    def ecr(self, region: str) -> ECRClient:
        """The client of ECR in the registry's region."""
        return cast("ECRClient", self._client("ecr", region))

    def anonymous_sts(self, config: object) -> object:
        """A client of STS with what `config` (botocore's) adds: for calls that no keys sign."""
        with self._lock:
            return self._make("sts", self._region, config)

    def autoscaling(self) -> AutoScalingClient:
        """The client of EC2 Auto Scaling."""
        return cast("AutoScalingClient", self._client("autoscaling", self._region))

    def cloudformation(self) -> CloudFormationClient:
        """The client of CloudFormation."""
        return cast("CloudFormationClient", self._client("cloudformation", self._region))

    def sts(self) -> STSClient:
        """The client of the Security Token Service in the region, not of the global one."""
        return cast("STSClient", self._client("sts", self._region))

    def _client(self, service: str, region: str) -> object:
        # Two clients of a session are not to be made at the same time.
        with self._lock:
            if (service, region) not in self._clients:
                self._clients[service, region] = self._make(service, region)
            return self._clients[service, region]

    def _make(self, service: str, region: str, more: object = None) -> object:
        from botocore.config import Config

        from agent.aws.connections import Connections  # noqa: PLC0415 - it loads botocore

        config = Config(
            region_name=region,
            connect_timeout=HASTY_SECONDS if self._hasty else CONNECT_SECONDS,
            read_timeout=HASTY_SECONDS if self._hasty else READ_SECONDS,
            # Never a second attempt of botocore's own: `Attempts` has it make one.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            # Never None, or it would read the environment with Python's rules; see `Connections`.
            proxies={},
            user_agent_extra="delphi-agent",
            use_fips_endpoint=self._flag("AWS_USE_FIPS_ENDPOINT"),
            use_dualstack_endpoint=self._flag("AWS_USE_DUALSTACK_ENDPOINT"),
        )
        client = self._sdk.client(service, config if more is None else config.merge(cast("Config", more)))
        if self._connections is None:
            path = authorities(self._variables)
            self._connections = Connections(Authorities(path) if path else None, self._proxies, config)
        self._connections.serve(client)
        Attempts(region, self._retrying, self._sdk.renew, self.moved).watch(client)
        return cast("object", client)

    def _flag(self, name: str) -> bool | None:
        return True if self._variables.get(name, "").lower() == "true" else None
