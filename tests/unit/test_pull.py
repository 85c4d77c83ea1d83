"""Pulling: what a failure means, what is tried again and how often, and what is told meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import (
    AccessDenied,
    AgentError,
    DeadlineExceeded,
    EngineError,
    HostError,
    ImageDamaged,
    ImageMissing,
    RegistryError,
)
from agent.host.clock import Deadline
from agent.host.command import Command, Commands, Finished
from agent.report.record import Recorder, Step
from agent.secret import Secret
from agent.steps import pull_faults
from agent.steps.project import Project
from agent.steps.pull import pull, pull_name
from agent.steps.pull_faults import Fault
from agent.steps.pull_rounds import NETWORK_TRIES
from tests.unit.fakes import HEAD, FakeClock, FakeCommands, Sayings

STAGED = Path("/opt/services/.delphi-agent-staging/api")
ENV = {"DOCKER_CONFIG": Secret("/run/delphi-agent/docker")}
PROJECT = Project(
    folder=STAGED, shown=Path("/opt/services/api"), files=(STAGED / "docker-compose.yaml",), env=ENV, view=()
)
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
API, DB = f"{HOST}/api:1", f"{HOST}/db:1"
WANTED = {API: ["api", "job"], DB: ["db"]}
TOGETHER = ("pull", "--ignore-buildable", "--ignore-pull-failures")
ALONE = ("pull", "--ignore-buildable")

# What the engine says (20.10 and 28), and Compose repeats.
MISSING = "manifest for {0} not found: manifest unknown: Requested image not found"
EXPIRED = "unauthorized: Your authorization token has expired. Reauthenticate and try again."
DENIED = (
    f"pull access denied for {HOST}/api, repository does not exist or may require 'docker login': denied: User:"
    " arn:aws:sts::1:assumed-role/x is not authorized to perform: ecr:BatchGetImage on resource"
)
DAMAGED = f"filesystem layer verification failed for digest sha256:{'0' * 64}"
UNTRUSTED = 'Get "https://{0}/v2/": x509: certificate signed by unknown authority'
THROTTLED = "toomanyrequests: Rate exceeded"
RESET = 'Head "https://{0}": read tcp 10.0.0.1:43464->10.0.0.2:443: read: connection reset by peer'


class Pulling:
    """A pull whose children answer as they were told to; `logins` counts new logins."""

    def __init__(self, wanted: Mapping[str, Sequence[str]] = WANTED) -> None:
        self.clock = FakeClock()
        self.commands = FakeCommands()
        self.sayings = Sayings()
        self.told: list[int] = []
        self.logins = 0
        self._recorder = Recorder(HEAD, self.clock, [self.sayings])
        self.spans = self._recorder.spans
        self._wanted = wanted

    def together(self, services: str, *lines: str, status: int = 0) -> None:
        self.commands.expect(*TOGETHER, *services.split(), status=status, err="\n".join(lines).encode())

    def alone(self, services: str, *lines: str, status: int = 0) -> None:
        self.commands.expect(*ALONE, *services.split(), status=status, err="\n".join(lines).encode())

    def run(self, seconds: float = 300.0) -> Step:
        with self._recorder.step("pull", "pulling the images") as step:
            pull(
                PROJECT,
                self.commands,
                self.clock.deadline(seconds),
                self._wanted,
                log_in_again=self._log_in,
                tell=self.told.append,
            )
        self.commands.assert_all_ran()
        return step

    def fails(self, kind: type[AgentError], seconds: float = 300.0) -> AgentError:
        with pytest.raises(AgentError) as caught:
            self.run(seconds)
        assert type(caught.value) is kind, caught.value
        self.commands.assert_all_ran()
        return caught.value

    def _log_in(self) -> None:
        self.logins += 1


# --- all at once


def test_images_are_pulled_by_the_names_of_their_services_and_none_stops_the_others() -> None:
    assert PROJECT.pull(["api", "db"], each=True).argv[-7:] == (
        "--progress",
        "plain",
        "pull",
        "--ignore-buildable",
        "--ignore-pull-failures",
        "api",
        "db",
    )
    assert "--ignore-pull-failures" not in PROJECT.pull(["api"], each=False).argv


def test_pulled_images_are_counted_as_they_come() -> None:
    pulling = Pulling()
    pulling.together(
        "api job db",
        " job Skipped - Image is already being pulled by api ",
        " api Pulling ",
        " 4f4fb700ef54 Pull complete ",
        " db Pulled ",
        " api Pulled ",
    )

    assert pulling.run().costs.retries == 0
    assert pulling.told == [1, 2]


def test_the_timeline_has_each_image_with_its_time_and_the_kind_of_its_failure() -> None:
    pulling = Pulling()
    told = (
        " api Pulling ",
        " db Pulling ",
        " 4f4fb7 Pulling fs layer ",
        " api Pulled ",
        f" db Error {THROTTLED}",
    )
    pulling.together("api job db", *told)
    pulling.together("db", " Image db Pulling ", " db Pulled ")
    pulling.run()

    first, failed, again = sorted(pulling.spans.document(str), key=lambda span: (span["name"], span["started"]))
    assert (first["kind"], first["name"], first["step"]) == ("image", API, "pull")
    assert (first["seconds"], first["error"]) == (0, None)
    assert (failed["name"], failed["error"], failed["seconds"]) == (DB, "throttled", 0)
    assert (again["name"], again["error"]) == (DB, None)
    assert again["started"] == pytest.approx(sum(pulling.clock.sleeps), abs=0.001)


def test_an_image_that_is_pulled_by_its_name_is_in_the_timeline_too() -> None:
    pulling = Pulling()
    pulling.commands.expect("docker", "pull", "--quiet", API, status=1, err=MISSING.format(API).encode())
    recorder = Recorder(HEAD, pulling.clock, [])
    with pytest.raises(ImageMissing), recorder.step("images", "x"):
        pull_name(PROJECT, pulling.commands, pulling.clock.deadline(), API, log_in_again=None)

    (span,) = recorder.spans.document(str)
    assert (span["kind"], span["name"], span["error"]) == ("image", API, "missing")


def test_compose_from_2_40_on_names_images_instead_of_services() -> None:
    pulling = Pulling()
    pulling.together("api job db", f" Image {API} Pulling ", f" Image {DB} Pulled ", f" Image {API} Pulled ")

    pulling.run()
    assert pulling.told == [1, 2]


def test_services_that_need_no_pull_are_not_waited_for() -> None:
    pulling = Pulling()
    pulling.together("api job db", "api Skipped", "job Skipped - Image can be built", f"Image {DB} Skipped")

    pulling.run()


def test_a_service_that_waits_for_another_one_s_pull_has_not_got_it_yet() -> None:
    pulling = Pulling()
    pulling.together("api job db", "job Skipped - Image is already being pulled by api", "db Pulled")
    pulling.alone("api job")

    pulling.run()
    assert pulling.told == [1, 2]


def test_nothing_to_pull_starts_no_child() -> None:
    Pulling({}).run()


# --- what failed


def test_an_image_that_the_registry_lacks_is_told_alone_and_at_once() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"db Error {MISSING.format(DB)}", "api Pulled")
    error = pulling.fails(ImageMissing)

    assert error.cause == MISSING.format(DB)
    assert error.details == ()
    assert "ECR_TAG" in error.next_step
    assert pulling.clock.sleeps == []


def test_layers_that_cannot_be_fetched_are_silent_and_asked_for_alone() -> None:
    pulling = Pulling()
    pulling.together("api job db", "api Pulled")
    pulling.alone("db", "db Pulling", "failed to register layer: write /x: no space left on device", status=1)
    error = pulling.fails(HostError)

    assert error.cause == f"{DB}: failed to register layer: write /x: no space left on device"
    assert "docker system df" in error.next_step


def test_an_error_without_its_cause_is_asked_for_alone() -> None:
    pulling = Pulling()
    pulling.together("api job db", "api Pulled", "db Error ")
    pulling.alone("db", "db Error ", f"Error response from daemon: {MISSING.format(DB)}", status=18)

    assert pulling.fails(ImageMissing).cause == MISSING.format(DB)


def test_a_child_that_fails_as_a_whole_is_believed() -> None:
    pulling = Pulling({API: ["api"]})
    for _ in range(NETWORK_TRIES):
        pulling.together("api", "Cannot connect to the Docker daemon at unix:///run/docker.sock.", status=1)

    error = pulling.fails(EngineError)
    assert "Cannot connect to the Docker daemon" in error.cause
    assert "journalctl -u docker" in error.next_step


def test_a_child_that_a_signal_ended_is_the_host_s_fault_whatever_it_said_last() -> None:
    pulling = Pulling({API: ["api"]})
    pulling.together("api", "api Pulling", status=-9)
    error = pulling.fails(HostError)

    assert error.cause == f"{API}: `docker` was ended by signal 9"
    assert "out of memory" in error.next_step
    assert pulling.clock.sleeps == []


def test_bytes_that_are_not_those_of_the_digest_are_asked_for_again_a_few_times() -> None:
    pulling = Pulling({API: ["api"]})
    for _ in range(NETWORK_TRIES):
        pulling.together("api", f"api Error {DAMAGED}")

    assert pulling.fails(ImageDamaged).cause == f"{API}: {DAMAGED}"
    assert len(pulling.clock.sleeps) == NETWORK_TRIES - 1


def test_a_certificate_that_is_not_trusted_is_told_at_once_with_what_to_do() -> None:
    pulling = Pulling({API: ["api"]})
    pulling.together("api", f"api Error {UNTRUSTED}")

    assert "its authority" in pulling.fails(RegistryError).next_step
    assert pulling.clock.sleeps == []


def test_faults_of_several_kinds_are_told_with_the_gravest_first_and_a_line_for_each() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"api Error {THROTTLED}", f"db Error {MISSING.format(DB)}")
    error = pulling.fails(ImageMissing)

    assert error.cause == f"2 images were not pulled; {MISSING.format(DB)}"
    assert error.details == (MISSING.format(DB), f"{API}: {THROTTLED}")


# --- a token that has expired


def test_a_refusal_is_tried_once_more_with_a_new_login_and_only_what_was_refused() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"db Error {EXPIRED}", "api Pulled")
    pulling.together("db", "db Pulled")
    step = pulling.run()

    assert (pulling.logins, step.costs.retries, step.costs.throttled) == (1, 1, 0)
    assert pulling.clock.sleeps == []


def test_refused_again_is_refused() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"db Error {EXPIRED}", "api Pulled")
    pulling.together("db", f"db Error {EXPIRED}")
    error = pulling.fails(AccessDenied)

    assert error.cause == f"{DB}: {EXPIRED}"
    assert "ecr:BatchGetImage" in error.next_step
    assert pulling.logins == 1


def test_a_token_that_expires_while_a_quota_is_waited_for_is_renewed_too() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"db Error {THROTTLED}", "api Pulled")
    pulling.together("db", f"db Error {EXPIRED}")
    pulling.together("db", "db Pulled")

    assert pulling.run().costs.retries == 2
    assert pulling.logins == 1


# --- a quota, a network


def test_a_quota_is_waited_for_and_then_only_the_rest_is_pulled() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"db Error {THROTTLED}", "api Pulled")
    for _ in range(2 * NETWORK_TRIES):
        pulling.together("db", f"db Error {THROTTLED}")
    pulling.together("db", "db Pulled")
    step = pulling.run()

    assert step.costs.retries == step.costs.throttled == len(pulling.clock.sleeps) == 2 * NETWORK_TRIES + 1
    assert f"progressed pull: -, the registry: {DB}: {THROTTLED}" in pulling.sayings.lines
    assert pulling.sayings.lines[-2:] == ["progressed pull: -, -", "done pull"]


def test_a_quota_that_lasts_is_told_at_the_deadline_as_what_it_is() -> None:
    pulling = Pulling({DB: ["db"]})
    for _ in range(200):
        pulling.together("db", f"db Error {THROTTLED}")
    with pytest.raises(RegistryError, match="toomanyrequests") as caught:
        pulling.run(seconds=60)

    assert pulling.clock.monotonic() <= 1060
    assert "quota" in caught.value.next_step
    assert caught.value.__cause__ is None


def test_a_network_that_breaks_is_tried_again_a_few_times() -> None:
    pulling = Pulling()
    pulling.together("api job db", f"api Error {RESET}", "db Pulled")
    for _ in range(NETWORK_TRIES - 2):
        pulling.together("api job", f"api Error {RESET}")
    pulling.together("api job", "api Pulled")
    step = pulling.run()

    assert (step.costs.retries, step.costs.throttled) == (NETWORK_TRIES - 1, 0)


def test_a_network_that_stays_broken_is_told_with_every_image() -> None:
    pulling = Pulling()
    for _ in range(NETWORK_TRIES):
        pulling.together("api job db", f"api Error {RESET}", "db Error i/o timeout")
    error = pulling.fails(RegistryError)

    assert error.details == (f"{API}: {RESET}", f"{DB}: i/o timeout")
    assert error.exit_status == 69


# --- the deadline


class Endless:
    """A child that says its lines and then works until its deadline."""

    def __init__(self, clock: FakeClock, *lines: str) -> None:
        self._clock = clock
        self._lines = lines

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        for line in self._lines:
            if on_line is not None:
                on_line(line)
        self._clock.advance(deadline.left())
        raise deadline.exceeded(f"running `{command}`", "af900da023dd Retrying in 25 seconds")


class InTurn:
    """Each run by the next of those given."""

    def __init__(self, *runners: Commands) -> None:
        self._runners = list(runners)

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        return self._runners.pop(0).run(command, deadline, on_line=on_line, watch=watch)


def test_a_deadline_in_the_middle_of_another_try_is_told_with_why_there_had_to_be_one() -> None:
    pulling = Pulling({API: ["api"]})
    pulling.together("api", f"api Error {RESET}")
    with pytest.raises(DeadlineExceeded) as caught:
        pull(
            PROJECT,
            InTurn(pulling.commands, Endless(pulling.clock)),
            pulling.clock.deadline(60),
            {API: ["api"]},
            log_in_again=lambda: None,
            tell=lambda _: None,
        )

    assert "not done within 60 s" in caught.value.cause
    assert f"the try before: {API}: {RESET}" in caught.value.cause


def test_a_pull_that_takes_too_long_is_told_with_what_is_outstanding_and_without_the_staged_folder() -> None:
    clock = FakeClock()
    with pytest.raises(DeadlineExceeded) as caught:
        pull(
            PROJECT,
            Endless(clock, "db Pulled"),
            clock.deadline(9),
            WANTED,
            log_in_again=lambda: None,
            tell=lambda _: None,
        )

    assert str(caught.value) == (
        f"running `docker compose pull`: not done within 9 s; still outstanding: api, job ({API})"
    )
    assert "--deadline" in caught.value.next_step


# --- one image by its digest


def test_one_image_is_pulled_by_its_digest_with_the_project_s_login() -> None:
    commands = FakeCommands()
    name = f"{HOST}/api@sha256:{'0' * 64}"
    commands.expect("docker", "pull", "--quiet", name)
    pull_name(PROJECT, commands, FakeClock().deadline(), name, log_in_again=None)

    assert commands.ran[0].env == ENV


def test_one_image_that_breaks_is_tried_again_and_one_that_is_gone_is_not() -> None:
    commands, clock = FakeCommands(), FakeClock()
    name = f"{HOST}/api@sha256:{'0' * 64}"
    commands.expect(name, status=1, err=b"Error response from daemon: unexpected EOF\n")
    commands.expect(name, status=1, err=f"Error response from daemon: {MISSING.format(name)}\n".encode())
    with pytest.raises(ImageMissing):
        pull_name(PROJECT, commands, clock.deadline(), name, log_in_again=None)

    commands.assert_all_ran()


def test_one_image_without_a_way_to_log_in_again_is_refused_at_once() -> None:
    commands = FakeCommands()
    commands.expect("x/y@z", status=1, err=b"no basic auth credentials\n")
    with pytest.raises(AccessDenied):
        pull_name(PROJECT, commands, FakeClock().deadline(), "x/y@z", log_in_again=None)


def test_one_image_that_takes_too_long_is_told_by_its_name() -> None:
    clock = FakeClock()
    with pytest.raises(DeadlineExceeded, match=r"^pulling x@y: not done within 5 s; still outstanding: x@y$"):
        pull_name(PROJECT, Endless(clock), clock.deadline(5), "x@y", log_in_again=None)


def test_a_child_that_says_nothing_is_told_with_its_status() -> None:
    commands = FakeCommands()
    for _ in range(NETWORK_TRIES):
        commands.expect("x@y", status=125)
    with pytest.raises(RegistryError, match="exited with 125 and said nothing"):
        pull_name(PROJECT, commands, FakeClock().deadline(), "x@y", log_in_again=None)


# --- what the words mean


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (MISSING.format(API), ImageMissing),
        ("manifest unknown", ImageMissing),
        (f"repository {HOST}/api not found: name unknown: The repository with name 'api' does not exist", ImageMissing),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", ImageMissing),
        (f'failed to resolve reference "{API}": {API}: not found', ImageMissing),
        ("invalid reference format: repository name must be lowercase", ImageMissing),
        ("unknown blob", ImageMissing),
        ("no basic auth credentials", AccessDenied),
        (EXPIRED, AccessDenied),
        ('Head "https://x/v2/api/manifests/v1": unauthorized: authentication required', AccessDenied),
        (DENIED, AccessDenied),
        ("unexpected status from HEAD request to https://x/v2/api/manifests/v1: 401 Unauthorized", AccessDenied),
        ("unexpected status from HEAD request to https://x/v2/api/manifests/v1: 403 Forbidden", AccessDenied),
        (THROTTLED, RegistryError),
        ("toomanyrequests: You have reached your pull rate limit.", RegistryError),
        ("unexpected status from HEAD request to https://x/v2/api/manifests/v1: 429 Too Many Requests", RegistryError),
        ('Get "https://x/v2/": dial tcp 10.0.0.1:443: i/o timeout', RegistryError),
        ('Get "https://x/v2/": net/http: TLS handshake timeout', RegistryError),
        ('Get "https://x/v2/": dial tcp: lookup x: no such host', RegistryError),
        ("received unexpected HTTP status: 503 Service Unavailable", RegistryError),
        ("proxyconnect tcp: dial tcp 10.0.1.5:3128: connect: connection refused", RegistryError),
        ("dial unix /run/docker.sock: connect: permission denied", RegistryError),
        ("failed to register layer: write /x: no space left on device", HostError),
        # Digits in the name of a layer are no HTTP status.
        ("failed to copy: sha256:44010a401bb2f2401c: i/o timeout", RegistryError),
    ],
)
def test_a_failed_pull_is_told_by_what_the_registry_said(cause: str, kind: type[AgentError]) -> None:
    error = pull_faults.error([Fault(API, cause)])

    assert type(error) is kind
    assert API in error.cause
    assert cause in error.cause


@pytest.mark.parametrize("name", ["access-denied-page", "unauthorized", "rate-limit/toomanyrequests"])
def test_the_name_of_an_image_is_no_cause(name: str) -> None:
    cause = f'Head "https://{HOST}/v2/{name}/manifests/1": unexpected EOF'

    assert Fault(f"{HOST}/{name}:1", cause).kind == "network"


@given(st.lists(st.sampled_from([MISSING, EXPIRED, THROTTLED, RESET, "no space left on device"]), min_size=1))
def test_however_many_faults_there_are_each_is_told_and_a_permanent_one_decides(causes: list[str]) -> None:
    faults = [Fault(f"{HOST}/{place}:1", cause) for place, cause in enumerate(causes)]
    error = pull_faults.error(faults)
    told = "\n".join([error.cause, *error.details])

    assert all(fault.text in told for fault in faults)
    assert (error.exit_status == 69) == all(cause in {THROTTLED, RESET} for cause in causes)
