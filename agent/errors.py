"""Every error that the agent reports, in one tree; each class knows its exit code (README, "Exit codes").

AgentError
+-- UsageError           2   the command line
+-- BundleError         65   bundle, manifest or compose file is invalid
|   +-- BundleMissing        no object under the ref and role, or no slug
|   +-- ManifestError        vars.yaml
|   +-- ComposeFileError     the compose file, or none
|   +-- ImageMissing         an image or tag that the registry does not have
|   +-- ImageDamaged         an image whose bytes are not those that its digest promises
+-- UnresolvedError     66   a required variable has no value
+-- UnreachableError    69   something outside did not answer, or not in time
|   +-- ImdsError
|   +-- AwsError
|   +-- RegistryError
|   +-- EngineError
|   +-- DeadlineExceeded
+-- BugError            70   an exception that nobody expected
+-- LockHeld            73   another run is at work
+-- HostError           74   disk, mount, daemon.json, permissions
|   +-- StateBroken          what the agent remembers cannot be read
+-- RestoredError       75   the deploy failed, the release before it was restored and seen healthy
+-- DeployFailed        76   `up` was reached, the project was not seen healthy, nothing was restored
+-- AccessDenied        77   AWS or the registry said no
+-- BootstrapError      78   the bootstrap file is missing or invalid
+-- SeveralErrors            more than one of the above at once

`Interrupted` stands beside the tree: a signal is not an error.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from typing import ClassVar


class AgentError(Exception):
    """A failure that an operator can act on.

    `doing` is a verb phrase with the thing it was done to ("reading parameters under /delphi/prod/api/"), `cause` is
    why it failed in the words of whatever failed, `next_step` is what to do now. None of the three, nor a line of
    `details` (further facts, one per line: faults with their position, log lines), ever holds the value of a variable.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def __init__(self, doing: str, cause: str, next_step: str, *, details: Iterable[str] = ()) -> None:
        super().__init__(f"{doing}: {cause}")
        self.doing = doing
        self.cause = cause
        self.next_step = next_step
        self.details = tuple(details)

    @property
    def exit_status(self) -> int:
        """The exit code of a run that ends with this error."""
        return self.exit_code

    def parts(self) -> Sequence[AgentError]:
        """The single errors that this one stands for: itself, except for `SeveralErrors`."""
        return (self,)


class UsageError(AgentError):
    """The command line asks for something that cannot be."""

    code, exit_code = "usage", 2


class BundleError(AgentError):
    """What the bundle brought cannot be used."""

    code, exit_code = "bundle-invalid", 65


class BundleMissing(BundleError):
    """The bucket holds nothing for this ref and role."""

    code = "bundle-missing"


class ManifestError(BundleError):
    """vars.yaml is not a valid manifest."""

    code = "manifest-invalid"


class ComposeFileError(BundleError):
    """The compose file is absent or Compose refuses it."""

    code = "compose-file-invalid"


class ImageMissing(BundleError):
    """The registry does not have an image or tag that the project names."""

    code = "image-missing"


class ImageDamaged(BundleError):
    """What the registry gives for an image stays another thing than its digest promises."""

    code = "image-damaged"


class UnresolvedError(AgentError):
    """At least one required variable has no value in any source."""

    code, exit_code = "variables-unresolved", 66


class UnreachableError(AgentError):
    """Something outside the host did not answer or did not finish; a later run may succeed."""

    code, exit_code = "unreachable", 69


class ImdsError(UnreachableError):
    """The instance metadata service gave no identity."""

    code = "imds"


class AwsError(UnreachableError):
    """An AWS API failed in a way that retries did not mend."""

    code = "aws"


class RegistryError(UnreachableError):
    """The registry could not be reached or did not finish a pull."""

    code = "registry"


class EngineError(UnreachableError):
    """The Docker engine does not answer."""

    code = "docker-engine"


class DeadlineExceeded(UnreachableError):
    """The run's deadline, or a step's share of it, is over."""

    code = "deadline"


class BugError(AgentError):
    """The agent itself is at fault; the traceback is in the log."""

    code, exit_code = "bug", 70


class LockHeld(AgentError):
    """Another run holds the host's lock."""

    code, exit_code = "locked", 73


class HostError(AgentError):
    """This host is not fit: disk, mount, permission, an invalid daemon.json."""

    code, exit_code = "host", 74


class StateBroken(HostError):
    """state.json is there and is no state."""

    code = "state-broken"


class RestoredError(AgentError):
    """The project was not seen healthy; the release before it was put back and was."""

    code, exit_code = "restored", 75


class DeployFailed(AgentError):
    """The project was started and not seen healthy; nothing was restored."""

    code, exit_code = "deploy-failed", 76


class AccessDenied(AgentError):
    """AWS or the registry refused; retrying cannot help, a permission or credential must change."""

    code, exit_code = "access-denied", 77


class BootstrapError(AgentError):
    """The bootstrap file is missing, unreadable or invalid."""

    code, exit_code = "bootstrap-invalid", 78


# Which code a run ends with when several faults of different kinds came up (design: the first of these).
PRECEDENCE = (78, 77, 65, 66, 74, 69)


class SeveralErrors(AgentError):
    """Faults of independent steps, told together; the exit code is that of the gravest (`PRECEDENCE`)."""

    code = "several"

    def __init__(self, errors: Sequence[AgentError]) -> None:
        flat = [part for error in errors for part in error.parts()]
        self._errors = tuple(sorted(flat, key=_rank))
        first = self._errors[0]
        super().__init__(first.doing, first.cause, first.next_step, details=first.details)

    @property
    def exit_status(self) -> int:
        """The exit code of the gravest."""
        return self._errors[0].exit_code

    def parts(self) -> Sequence[AgentError]:
        """The faults, the gravest first."""
        return self._errors


def _rank(error: AgentError) -> int:
    return PRECEDENCE.index(error.exit_code) if error.exit_code in PRECEDENCE else len(PRECEDENCE)


class Interrupted(BaseException):
    """A signal asked the run to end. Not an `Exception`, so that no step takes it for a failure of its own."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as a shell reports it."""
        return 128 + self.signal


def counted(faults: Sequence[object]) -> str:
    """The cause of an error whose `details` are these faults (at least one)."""
    return "1 fault" if len(faults) == 1 else f"{len(faults)} faults"


def combine(errors: Sequence[AgentError]) -> AgentError:
    """One error to raise for all of `errors` (at least one)."""
    return errors[0] if len(errors) == 1 else SeveralErrors(errors)
