"""Step 1: the bootstrap file, the infrastructure values that cloud-init wrote (contract section 2)."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import BootstrapError, counted
from agent.host import proxy
from agent.secret import Secret
from agent.shell import file as shell_file
from agent.steps.bootstrap_shape import faults_of_placeholders, faults_of_shape
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP, steers_the_host

REQUIRED = (
    "ENVIRONMENT",
    "HOSTNAME",
    "SERVER_ROLE",
    "ECR_REGISTRY",
    "ECR_TAG",
    "CONFIG_BUCKET",
    "CONFIG_REF",
    "NAMESPACE",
    "AWS_REGION",
)
KEY_PAIR = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
KEYS = (*KEY_PAIR, "AWS_SESSION_TOKEN")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SIGNALS = ("SIGNAL_ASG", "SIGNAL_CFN_STACK", "SIGNAL_CFN_RESOURCE", "ON_FAILURE", "ON_FAILURE_HOLD_SECONDS")
# What a manifest may count on when no bootstrap file is at hand to look into (`check` on a laptop).
OPTIONAL = (
    "DB_MASTER_SECRET_ARN",
    "CONFIG_SLUG",
    "CONFIG_MAX_OBJECTS",
    "CONFIG_MAX_BYTES",
    "AWS_ACCOUNT_ID",
    *SIGNALS,
)
DOCUMENTED = frozenset((*REQUIRED, *KEYS, *PROXIES, *OPTIONAL))


@dataclass(frozen=True)
class StaticKeys:
    """The AWS keys of the bootstrap file; they hide an instance profile."""

    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """A bootstrap file with every required name set. `variables` are all that it sets, the empty ones too."""

    path: Path
    variables: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...]

    @property
    def keys(self) -> StaticKeys | None:
        """Both static keys, or None; half a pair does not load."""
        key_id, secret = (self.variables.get(name, "") for name in KEY_PAIR)
        token = self.variables.get("AWS_SESSION_TOKEN")
        if not key_id:
            return None
        return StaticKeys(Secret(key_id), Secret(secret), Secret(token) if token else None)

    @property
    def environment(self) -> str:
        """ENVIRONMENT."""
        return self.variables["ENVIRONMENT"]

    @property
    def hostname(self) -> str:
        """HOSTNAME, which wins over the shell's."""
        return self.variables["HOSTNAME"]

    @property
    def role(self) -> str:
        """SERVER_ROLE: one path part."""
        return self.variables["SERVER_ROLE"]

    @property
    def registry(self) -> str:
        """ECR_REGISTRY: a host, without a scheme."""
        return self.variables["ECR_REGISTRY"]

    @property
    def tag(self) -> str:
        """ECR_TAG."""
        return self.variables["ECR_TAG"]

    @property
    def bucket(self) -> str:
        """CONFIG_BUCKET, without `s3://`."""
        return self.variables["CONFIG_BUCKET"]

    @property
    def ref(self) -> str:
        """CONFIG_REF."""
        return self.variables["CONFIG_REF"]

    @property
    def namespace(self) -> str:
        """NAMESPACE, without slashes at its ends."""
        return self.variables["NAMESPACE"]

    @property
    def region(self) -> str:
        """AWS_REGION."""
        return self.variables["AWS_REGION"]

    @property
    def slug(self) -> str | None:
        """CONFIG_SLUG, None when it is not set."""
        return self.variables.get("CONFIG_SLUG") or None

    def changed(self, changes: Mapping[str, str]) -> Bootstrap:
        """The same file as it would read with other values for some names."""
        return replace(self, variables={**self.variables, **changes})

    def secrets(self) -> Iterator[Secret]:
        """What no log may show: the AWS keys, and passwords in proxy addresses."""
        for name in KEYS:
            if self.variables.get(name):
                yield Secret(self.variables[name])
        yield from proxy.secrets(self.variables)


def load(path: Path, display: str) -> Bootstrap:
    """Read and check the file; `display` is what messages call it. Raises `BootstrapError` with all its faults."""
    data, mode = _read(path, display)
    return understand(data, mode, path, display)


def understand(data: bytes, mode: int, path: Path, display: str) -> Bootstrap:
    """The same for `data` that is not, or not yet, at `path`."""
    read = shell_file.parse(data, display)
    variables = read.values()
    # Names whose line is faulty, or hidden by an unclosed quote, are not also called missing.
    missing = [name for name in REQUIRED if not variables.get(name)] if read.complete else []
    missing = [name for name in missing if name in variables or name not in read.seen]
    lines = {assignment.name: f":{assignment.line}" for assignment in read.assignments}
    # Each begins with the name that it is about.
    of_names = (*_faults_of_keys(variables, read.seen), *faults_of_shape(variables), *proxy.faults(variables))
    faults = [
        *read.faults,
        *(f"{display}: {_missing(name, variables)}" for name in missing),
        *(f"{display}{lines.get(fault.partition(' ')[0], '')}: {fault}" for fault in of_names),
        *(f"{display}:{fault}" for fault in faults_of_placeholders(read.assignments, DOCUMENTED)),
    ]
    if faults:
        raise BootstrapError(
            f"reading the bootstrap file {display}",
            counted(faults),
            "correct these lines in the file, and in the cloud-init template that writes it",
            details=faults,
        )
    warnings = (*read.warnings, *_warnings(variables, mode, display))
    return Bootstrap(path=path, variables=variables, warnings=warnings)


def _read(path: Path, display: str) -> tuple[bytes, int]:
    doing = f"reading the bootstrap file {display}"
    try:
        return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError as error:
        raise BootstrapError(
            doing,
            "there is no such file",
            "let cloud-init write it (`write_files`, mode 0600) and see /var/log/cloud-init-output.log for why it did"
            " not; then `cloud-init clean --reboot`, or write the file by hand",
        ) from error
    except OSError as error:
        raise BootstrapError(
            doing, error.strerror or type(error).__name__, "run as root, on a file that root can read"
        ) from error


def _missing(name: str, variables: Mapping[str, str]) -> str:
    if name in variables:
        return f"{name} is empty; set it"
    near = difflib.get_close_matches(name, sorted(set(variables) - DOCUMENTED), n=1, cutoff=0.75)
    return f"{name} is not set; did you mean {name} where the file says {near[0]}?" if near else f"{name} is not set"


def _faults_of_keys(variables: Mapping[str, str], seen: frozenset[str]) -> Iterator[str]:
    for name, other in (KEY_PAIR, KEY_PAIR[::-1]):
        faulty = name in seen and name not in variables
        if variables.get(other) and not variables.get(name) and not faulty:
            yield f"{other} is set and {name} is not; set both, or remove both so that the instance's role is used"


def _warnings(variables: Mapping[str, str], mode: int, display: str) -> Iterator[str]:
    if mode & 0o077 and any(variables.get(name) for name in KEYS):
        yield f"{display}: holds AWS keys and its mode is {mode:04o}; chmod 0600 {display}"
    if variables.get("AWS_SESSION_TOKEN") and not variables.get(KEY_PAIR[0]):
        yield f"{display}: AWS_SESSION_TOKEN is set without the key pair and is not used"
    steering = sorted(name for name in variables if steers_the_host(name) and name not in ALLOWED_FROM_BOOTSTRAP)
    if steering:
        yield f"{display}: not passed on, since they steer the host's own tools: {', '.join(steering)}"
