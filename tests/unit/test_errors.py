"""Errors: one exit code per class, as the table of exit codes has it, and one error for several."""

from __future__ import annotations

import signal

import pytest

from agent import errors
from agent.errors import AgentError, Interrupted, SeveralErrors, combine

# The table of exit codes, written out: a class that changes its code has to change this line too.
TABLE = {
    errors.UsageError: 2,
    errors.BundleError: 65,
    errors.BundleMissing: 65,
    errors.ManifestError: 65,
    errors.ComposeFileError: 65,
    errors.ImageMissing: 65,
    errors.ImageDamaged: 65,
    errors.UnresolvedError: 66,
    errors.UnreachableError: 69,
    errors.ImdsError: 69,
    errors.AwsError: 69,
    errors.RegistryError: 69,
    errors.EngineError: 69,
    errors.DeadlineExceeded: 69,
    errors.BugError: 70,
    errors.LockHeld: 73,
    errors.HostError: 74,
    errors.StateBroken: 74,
    errors.RestoredError: 75,
    errors.DeployFailed: 76,
    errors.AccessDenied: 77,
    errors.BootstrapError: 78,
}
GRAVEST_FIRST = (
    errors.BootstrapError,
    errors.AccessDenied,
    errors.BundleError,
    errors.UnresolvedError,
    errors.HostError,
    errors.AwsError,
)


def made(kind: type[AgentError]) -> AgentError:
    return kind(f"doing {kind.code}", "because", "do this")


def every_class() -> list[type[AgentError]]:
    found, waiting = [], [AgentError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == "agent.errors"]


@pytest.mark.parametrize(("kind", "code"), TABLE.items(), ids=lambda item: getattr(item, "__name__", str(item)))
def test_every_class_ends_with_the_exit_code_of_the_table(kind: type[AgentError], code: int) -> None:
    assert code == kind.exit_code == made(kind).exit_status


def test_no_class_is_missing_from_the_table() -> None:
    assert set(TABLE) | {AgentError, SeveralErrors} >= set(every_class())


def test_no_two_classes_share_a_word() -> None:
    words = [kind.code for kind in every_class()]

    assert len(words) == len(set(words))


@pytest.mark.parametrize("place", range(len(GRAVEST_FIRST) - 1))
def test_of_several_errors_the_gravest_gives_the_exit_code_whatever_their_order(place: int) -> None:
    graver, milder = made(GRAVEST_FIRST[place]), made(GRAVEST_FIRST[place + 1])

    assert graver.exit_code == SeveralErrors([milder, graver]).exit_status
    assert graver.exit_code == SeveralErrors([graver, milder]).exit_status


def test_several_errors_hold_their_parts_flat_and_the_gravest_first() -> None:
    aws, host, denied = made(errors.AwsError), made(errors.HostError), made(errors.AccessDenied)

    several = SeveralErrors([SeveralErrors([aws, host]), denied])

    assert (denied, host, aws) == tuple(several.parts())
    assert (denied.doing, denied.cause, denied.next_step) == (several.doing, several.cause, several.next_step)


def test_an_error_without_a_rank_comes_after_all_that_have_one() -> None:
    bug, unreachable = made(errors.BugError), made(errors.ImdsError)

    assert SeveralErrors([bug, unreachable]).exit_status == 69


def test_one_error_is_not_wrapped() -> None:
    error = made(errors.HostError)

    assert error is combine([error])
    assert (error,) == tuple(error.parts())


def test_an_error_says_what_was_being_done_and_why_it_failed() -> None:
    error = errors.HostError("writing /x", "No space left on device", "free some space", details=iter(["a", "b"]))

    assert str(error) == "writing /x: No space left on device"
    assert error.next_step == "free some space"
    assert error.details == ("a", "b")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_as_a_shell_reports_it(number: signal.Signals, code: int) -> None:
    assert code == Interrupted(number).exit_status


def test_a_signal_is_no_error_that_a_step_could_catch() -> None:
    assert not issubclass(Interrupted, Exception)
