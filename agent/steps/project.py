"""The role's Compose project: its files, its command lines and the environment that only its children see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import ComposeFileError
from agent.host.command import Command
from agent.secret import Secret
from agent.steps.compose_program import BY_DOCKER

# In the order in which Compose itself looks (https://docs.docker.com/compose/intro/compose-application-model/).
FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)


@dataclass(frozen=True, kw_only=True)
class Project:
    """How to call Compose for one folder. Building a command runs nothing.

    `shown` is the folder that messages name: the live one, also while Compose works on the staged tree. `labels` are
    those that the agent's own file sets, by service; `compose` are the words that call Compose, and `view` is the
    command in front of every call, which gives it another view of the file system (see `agent.stages.view`).
    """

    folder: Path
    shown: Path
    files: tuple[Path, ...]
    env: Mapping[str, Secret] = field(repr=False)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    view: tuple[str, ...] = ()
    compose: tuple[str, ...] = BY_DOCKER

    def with_override(self, path: Path, labels: Mapping[str, Mapping[str, str]] | None = None) -> Project:
        """The same project with the agent's own file as the last one."""
        return replace(self, files=(*self.files, path), labels=labels or self.labels)

    def said(self, text: str) -> str:
        """What Compose said, with the live folders in place of staged ones."""
        return text.replace(str(self.folder.parent), str(self.shown.parent))

    def _command(self, *arguments: str) -> Command:
        files = [part for path in self.files for part in ("-f", str(path))]
        base = (*self.compose, *files, "--project-directory", str(self.folder), "--env-file", "/dev/null")
        # In another view the folder may not be there yet.
        return Command(argv=(*self.view, *base, *arguments), env=self.env, cwd=None if self.view else self.folder)

    def command(self, *words: str) -> Command:
        """Any other call of Compose, in an operator's words."""
        return self._command(*words)

    def version(self) -> Command:
        """Print the plugin's version; fails when there is no plugin."""
        return Command(argv=(*self.compose, "version", "--short"), env=self.env)

    def config(self) -> Command:
        """Print the model with every variable filled in: its output holds secrets."""
        return self._command("config", "--format", "json")

    def pull(self, services: Sequence[str], *, each: bool) -> Command:
        """Pull the images of these services, telling one line per image.

        With `each`, one that fails does not keep the others from being pulled, and the child does not fail for it:
        without, Compose gives up all at the first fault, and tells that fault of every service (2.26).
        """
        flags = ("--ignore-buildable", *(["--ignore-pull-failures"] if each else []))
        return self._command("--progress", "plain", "pull", *flags, *services)

    def up(self, *, recreate: bool, pull: bool) -> Command:
        """Start what is missing and replace what changed; with `recreate`, everything; without `pull`, offline."""
        return self._command("--progress", "plain", "up", "--detach", *_up_flags(recreate=recreate, pull=pull))

    def dry_run(self, *, recreate: bool) -> Command:
        """Print which containers `up` would create, replace or remove, and do nothing.

        `--no-start`: a dry run that also starts waits for ever where a service depends on another one's completion.
        """
        flags = _up_flags(recreate=recreate, pull=False)
        return self._command("--progress", "plain", "--dry-run", "up", "--no-start", *flags)


def _up_flags(*, recreate: bool, pull: bool) -> tuple[str, ...]:
    flags = ["--remove-orphans"]
    if recreate:
        flags.append("--force-recreate")
    if not pull:
        flags += ["--pull", "never"]
    return tuple(flags)


def find(folder: Path, shown: str, is_file: Callable[[Path], bool] = Path.is_file) -> tuple[Path, ...]:
    """The files that Compose would use in `folder`; `ComposeFileError` when there is none (`shown` names the place)."""
    names = [name for name in FILE_NAMES if is_file(folder / name)]
    if not names:
        raise ComposeFileError(
            f"looking for a compose file in {shown}",
            f"none of {', '.join(FILE_NAMES)} is there",
            "add docker-compose.yaml to the role's folder in the bundle",
        )
    overrides = [name for name in OVERRIDE_NAMES if is_file(folder / name)]
    return tuple(folder / name for name in (names[0], *overrides[:1]))
