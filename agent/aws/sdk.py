"""The SDK as this agent uses it: botocore with a run's credentials, and with nothing from an operator's own files.

botocore is boto3's core: what boto3 puts around it (transfers, resources) nothing here uses, and loading it takes 20 ms
and 3 MiB of every run.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.aws import credentials, endpoints
from agent.aws.credentials import Credentials
from agent.aws.trust import authorities
from agent.errors import BootstrapError

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session

# Keys that were just renewed are not renewed for the next thread too.
_RENEWED_SECONDS = 60.0


class Sdk:
    """One session of botocore's, made on first use, and its clients.

    `variables` are the bootstrap file's over the agent's own environment (AWS_ENDPOINT_URL*, AWS_CA_BUNDLE).
    `renew` may be called from any thread; the rest by one at a time.
    """

    def __init__(self, held: Credentials, variables: Mapping[str, str]) -> None:
        self._credentials = held
        self._variables = variables
        self._session: Session | None = None
        self._renewing, self._renewed = threading.Lock(), -math.inf

    def client(self, service: str, config: Config) -> Any:  # noqa: ANN401 - botocore makes the classes of its clients as it runs: they have no type
        """A new client; `BootstrapError` where the region or the address that it is given makes none."""
        from botocore.exceptions import BotoCoreError

        session: Any = self._made()
        address = endpoints.variable_of(service, self._variables)
        try:
            return session.create_client(
                service,
                config=config,
                verify=authorities(self._variables),
                endpoint_url=self._variables[address] if address else None,
            )
        except (BotoCoreError, ValueError) as error:
            # Nothing was sent yet: whatever it is, it is a setting. botocore's texts hold the value.
            known = [fault for fault in endpoints.faults(self._variables) if fault.partition(" ")[0] == address]
            raise BootstrapError(
                f"preparing to ask the service {service}",
                known[0] if known else type(error).__name__,
                "correct AWS_REGION, the regions in ARNs, and AWS_ENDPOINT_URL* in the bootstrap file, or what the"
                " agent's own environment has of them",
            ) from error

    def held(self) -> Any:  # noqa: ANN401 - botocore ships no types, and either of two of its classes it may be
        """The run's credentials as botocore holds them."""
        return self._made().get_credentials()

    def renew(self) -> bool:
        """Have the next request signed with new keys, where keys can be had again; AWS said that these expired."""
        import botocore.credentials

        held = self.held()
        if not isinstance(held, botocore.credentials.RefreshableCredentials):
            return False
        with self._renewing:
            if time.monotonic() - self._renewed > _RENEWED_SECONDS:
                self._renewed = time.monotonic()
                held._expiry_time = dt.datetime.now(dt.UTC)  # type: ignore[attr-defined]  # noqa: SLF001 - botocore has no public way to say that its keys are no longer good
        return True

    def _made(self) -> Session:
        if self._session is None:
            import botocore.configprovider
            import botocore.session

            core: Any = botocore.session.Session()
            # The agent's own environment is an operator's shell: a profile in it must not change what the host is. Nor
            # must the operator's files, where even `[default]` counts, and a line that is none would end every run.
            nothing: Any = botocore.configprovider.ConstantProvider(None)
            for name in ("profile", "config_file", "credentials_file"):
                core.get_component("config_store").set_config_provider(name, nothing)
            # As the AWS CLI does it: reading times took four fifths of reading a listing, and nobody asks for one.
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
            core._credentials = credentials.held(self._credentials)  # noqa: SLF001 - there is no setter for refreshable credentials
            self._session = core
        return self._session
