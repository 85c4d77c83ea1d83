"""What the checks of one examination hand to those that build on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from agent.aws import clock_skew
from agent.aws.ecr import Login
from agent.aws.imds import Imds
from agent.aws.parameters import Parameter
from agent.aws.s3 import ConfigBucket
from agent.aws.session import AwsSession
from agent.compose_file import ComposeFile
from agent.dataclass import dataclass
from agent.host.engine import Engine
from agent.host.engine_answers import Container
from agent.host.host import Host
from agent.host.proxy import Proxies
from agent.secret import Redactor
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import Listing
from agent.steps.identity import Identity
from agent.steps.records import Release
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.resolution import Resolution


@dataclass(kw_only=True)
class Facts:
    """Filled in while checks run. A field without a value of its own is there for whoever `needs` its check.

    What is None may also stay so. `manifest_file` is the one that the command line names, `skews` are the
    seconds that this host was ahead of whatever answered, `at_work` is whether another run is, `release` is the one
    that was verified last on this instance.
    """

    host: Host
    engine: Engine
    redactor: Redactor
    bootstrap_file: Path
    slug: str | None = None
    manifest_file: Path | None = None
    at_work: bool = False
    release: Release | None = None
    bootstrap: Bootstrap = field(init=False)
    hosts: Mapping[str, str] = field(init=False)
    imds: Imds | None = None
    identity: Identity = field(init=False)
    session: AwsSession = field(init=False)
    login: Login | None = None
    listing: Listing | None = None
    manifest_data: bytes | None = field(default=None, repr=False)
    bucket: ConfigBucket = field(init=False)
    composed: ComposeFile = field(init=False)
    manifest: Manifest = field(init=False)
    parameters: tuple[Parameter, ...] = ()
    found: Lookups = field(default_factory=Lookups)
    resolution: Resolution | None = None
    engine_info: Mapping[str, Any] = field(default_factory=dict, repr=False)
    containers: tuple[Container, ...] = ()
    skews: list[float] = field(default_factory=list)

    @property
    def variables(self) -> Mapping[str, str]:
        """What the run's AWS clients go by: the bootstrap file over the agent's own environment."""
        return {**self.host.environ, **self.bootstrap.variables}

    @property
    def proxies(self) -> Proxies:
        """The proxies of the bootstrap file."""
        return Proxies.of(self.bootstrap.variables)

    @property
    def role_folder(self) -> Path:
        """The role's folder on this host, which need not be there yet."""
        return self.host.paths.role(self.bootstrap.role)

    def compare_clocks(self, client: Any) -> None:  # noqa: ANN401 - clients of the SDK have no type in common
        """Let every answer that this client of the SDK gets from now on tell the time."""

        def note(parsed_response: Mapping[str, Any] | None, **_: object) -> None:
            headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self.compare_clock(headers.get("date", ""))

        client.meta.events.register("response-received", note)

    def compare_clock(self, date: str) -> None:
        """Note how far this host's clock is from a `Date` that has just come; an empty one tells nothing."""
        answer = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
        skew = clock_skew.skew(answer, self.host.clock.now())
        if skew is not None:
            self.skews.append(skew)
