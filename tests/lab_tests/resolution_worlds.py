"""Random worlds to resolve: a manifest, a bootstrap file and an account, from a seed.

400 parameters, 30 secrets, 3 external secrets, 500 variables of every kind; and things that look like them and must not
count: siblings of the path and of the prefix, names that nobody declared.
"""

from __future__ import annotations

import json
import random
import shlex
import string
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.lab.aws_model import Json
from tests.lab.lab import Lab
from tests.lab.world import NAMESPACE, ROLE

PARAMETERS, SECRETS, EXTERNALS, VARIABLES = 400, 30, 3, 500
UNDECLARED, LOCAL, TEMPLATES, TAKE_EXTERNAL, IN_SECRETS, IN_BOOTSTRAP = 10, 40, 70, 30, 160, 60
HOLDERS = ("EXTERNAL_0_ARN", "EXTERNAL_1_ARN", "EXTERNAL_2_ARN")
EXTERNAL_NAMES = ("rds!cluster-1", "shared/tokens", "shared/license")

_PIECES = [
    *"$'\"\\\n\t %#=:/@?&;|*~!{}[]<>éß🚀",
    *("$$", "${V001}", "$V002", "${V003:-x}", "$(id)", "`id`", "\\n", "  ", "%41", "東京"),
]
# What YAML reads as something else than text, and so must be kept as it is spelled.
SPELLINGS = ["true", "no", "010", "1e3", "0x1F", "6379", "1.50", "-.5", "+1", "2024-01-02", "1_000", ".inf", "12:30:45"]


@dataclass(frozen=True)
class GeneratedWorld:
    """One world; `seed` makes it again."""

    seed: int
    variables: list[dict[str, Json]]
    bootstrap: dict[str, str]
    parameters: dict[str, str]
    secrets: dict[str, dict[str, Json]]
    externals: dict[str, str]
    """Name -> text."""
    decoys: dict[str, str] = field(default_factory=dict)
    """Parameters (with a slash at the start) and secrets that are not of this service."""

    def seed_into(self, lab: Lab) -> None:
        """Put it into the (empty) account of a lab, and complete the bootstrap variables with the ARNs."""
        rng = random.Random(self.seed)
        kinds = ("String", "SecureString")
        for name, value in self.parameters.items():
            lab.world.put_parameter(name, value, rng.choice(kinds))
        client = lab.aws.client("secretsmanager")
        for number, (name, content) in enumerate(self.secrets.items()):
            text = json.dumps(content, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
            # One in ten is stored as bytes.
            kind: dict[str, Json] = {"SecretString": text} if number % 10 else {"SecretBinary": text.encode()}
            client.create_secret(Name=name, **kind)
        for holder, (name, text) in zip(HOLDERS, self.externals.items(), strict=True):
            self.bootstrap[holder] = lab.world.put_secret(name, text)
        for name, text in self.decoys.items():
            if name.startswith("/"):
                lab.world.put_parameter(name, text)
            else:
                lab.world.put_secret(name, text)

    def manifest_json(self) -> str:
        """The manifest for tools that know no YAML: every scalar is a string."""
        return json.dumps({"service": ROLE, "variables": self.variables})

    def manifest_yaml(self) -> str:
        """The manifest as people write it: block and flow style, quotes of every kind and none."""
        rng = random.Random(self.seed)
        entries = (_block_entry(entry, rng) if rng.random() < 0.5 else _flow(entry, rng) for entry in self.variables)
        return f"service: {ROLE}\nvariables:\n" + "".join(f"  - {entry}\n" for entry in entries)

    def bootstrap_text(self) -> str:
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in self.bootstrap.items())


def generate(seed: int, base: Mapping[str, str]) -> GeneratedWorld:
    """The world of a seed; `base` are the bootstrap variables that every instance has."""
    return _Generator(seed).world(base)


class _Generator:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.names = [f"V{number:03}" for number in range(VARIABLES - EXTERNALS)]
        shuffled = self.rng.sample(self.names, len(self.names))
        self.local, rest = shuffled[:LOCAL], shuffled[LOCAL:]
        self.templated, self.plain = rest[:TEMPLATES], rest[TEMPLATES:]

    def world(self, base: Mapping[str, str]) -> GeneratedWorld:
        rng = self.rng
        in_ssm = rng.sample(self.names, PARAMETERS - UNDECLARED)
        places = ["", "", "deep/", "deep/er/"]
        in_bootstrap = [*rng.sample(self.local, LOCAL // 2), *rng.sample(self.plain, IN_BOOTSTRAP - LOCAL // 2)]
        bootstrap = {
            **base,
            **{name: rng.choice(["", self.value(), self.value(), self.value()]) for name in in_bootstrap},
            **{f"UNDECLARED_{number}": self.value() for number in range(5)},
            "UNDECLARED_EMPTY": "",
            "COMPOSE_PROFILES": "a,b",
            "COMPOSE_FILE": "not-passed-on.yaml",
        }
        entries = {name: self.entry(name, set(in_ssm), bootstrap) for name in self.names}
        for name in rng.sample(self.plain, TAKE_EXTERNAL):
            entries[name]["secret"] = self.external_reference()
        holders: list[dict[str, Json]] = [{"name": name, "source": "local", "required": "true"} for name in HOLDERS]
        return GeneratedWorld(
            seed=self.seed,
            variables=[*holders, *(entries[name] for name in rng.sample(self.names, len(self.names)))],
            bootstrap=bootstrap,
            parameters={
                **{f"/{NAMESPACE}/{ROLE}/{rng.choice(places)}{name}": self.value() for name in in_ssm},
                **{f"/{NAMESPACE}/{ROLE}/UNDECLARED{number}": self.value() for number in range(UNDECLARED)},
            },
            secrets=self.secrets(),
            externals={
                EXTERNAL_NAMES[0]: json.dumps({f"key{number}": self.json_value() for number in range(10)}),
                EXTERNAL_NAMES[1]: json.dumps(
                    {f"key{number}": self.value() for number in range(5)}, ensure_ascii=False
                ),
                EXTERNAL_NAMES[2]: self.value() + "\n",
            },
            decoys={
                f"/{NAMESPACE}/{ROLE}2/V000": "a sibling's",
                f"/{NAMESPACE}/V001": "the parent's",
                f"{NAMESPACE}/{ROLE}-2/secrets": json.dumps({"V002": "a sibling's"}),
                f"{NAMESPACE}/other/{ROLE}/secrets": json.dumps({"V003": "another service's"}),
            },
        )

    def value(self) -> str:
        """Text that is not empty; one in fifty is as long as a parameter may be."""
        rng = self.rng
        if rng.random() < 0.02:
            return "".join(rng.choices(string.ascii_letters + "$'\"\\ \n", k=4096))
        if rng.random() < 0.2:
            return rng.choice(SPELLINGS)
        letters = string.ascii_letters + string.digits
        return "".join(rng.choice([rng.choice(letters), rng.choice(_PIECES)]) for _ in range(rng.randint(1, 12)))

    def json_value(self) -> Json:
        """A value of a secret's field. Numbers only where every jq prints them alike."""
        rng = self.rng
        makers: list[Callable[[], Json]] = [
            lambda: rng.choice([True, False]),
            lambda: rng.randint(-(2**31), 2**31),
            lambda: None,
            lambda: "",
            lambda: [self.value(), rng.randint(0, 9), None, [], {}, {"é": True}],
            lambda: {self.value(): {"x": [self.value()]}, "y": False},
        ]
        return self.value() if rng.random() < 0.7 else rng.choice(makers)()

    def secrets(self) -> dict[str, dict[str, Json]]:
        """The usual secret and 29 others, with keys that never meet; some of names that nobody declared."""
        names = ["secrets", *(f"{'deep/' if number % 4 == 0 else ''}more{number}" for number in range(SECRETS - 1))]
        content: dict[str, dict[str, Json]] = {f"{NAMESPACE}/{ROLE}/{name}": {} for name in names}
        for name in self.rng.sample(self.names, IN_SECRETS):
            content[self.rng.choice(list(content))][name] = self.json_value()
        for number, fields in enumerate(content.values()):
            fields[f"undeclared {number}"] = "x"
        return content

    def entry(self, name: str, in_ssm: set[str], bootstrap: Mapping[str, str]) -> dict[str, Json]:
        rng = self.rng
        entry: dict[str, Json] = {"name": name}
        has_value = bool(bootstrap.get(name)) or (name in in_ssm and name not in self.local)
        if name in self.local:
            entry["source"] = "local"
        if name in self.templated:
            entry["compose"] = self.template(name, in_ssm)
        elif rng.random() < 0.3:
            entry["default"] = rng.choice([*SPELLINGS, "", self.value(), self.value()])
        if has_value and rng.random() < 0.4:
            entry["required"] = "true"
        elif rng.random() < 0.1:
            # It holds for those that are `true`, which must then have a value.
            other = rng.choice(self.plain)
            entry["required_when"] = f"{other}={'true' if has_value else 'never'}"
        if rng.random() < 0.2:
            entry["sensitive"] = "true"
        return entry

    def template(self, name: str, in_ssm: set[str]) -> Json:
        """Over variables that have a value, and over templates before this one: chains, never a cycle."""
        rng = self.rng
        sure = [*(other for other in self.plain if other in in_ssm), "ECR_TAG", "NAMESPACE"]
        before = self.templated[: self.templated.index(name)]
        # Not too many templates in templates: texts would grow without end.
        drawn = [*rng.sample(sure, rng.randint(1, 3)), *rng.sample(before, min(len(before), rng.randint(0, 1)))]
        parts = [rng.choice(["", "x", "://", "$", "$$", "@", "${", "-", "é", " "]) + f"${{{used}}}" for used in drawn]
        text: dict[str, Json] = {"template": "".join(parts) + rng.choice(["", "$", "/end", "}"])}
        return text | ({"encode": "url"} if rng.random() < 0.3 else {})

    def external_reference(self) -> Json:
        number = self.rng.randrange(EXTERNALS)
        if number == EXTERNALS - 1:
            return {"arn_from": HOLDERS[number]}
        # One key in ten is not there.
        keys = [f"key{key}" for key in range((11, 6)[number])]
        return {"arn_from": HOLDERS[number], "type": "json", "key": self.rng.choice(keys)}


def _block_entry(entry: Mapping[str, Json], rng: random.Random) -> str:
    lines = [
        f"{name}: {_flow(value, rng) if isinstance(value, dict) else _scalar(name, value, rng)}"
        for name, value in entry.items()
    ]
    return "\n    ".join(lines)


def _flow(entry: Mapping[str, Json], rng: random.Random) -> str:
    parts = (
        f"{name}: {_flow(value, rng) if isinstance(value, dict) else _scalar(name, value, rng)}"
        for name, value in entry.items()
    )
    return f"{{{', '.join(parts)}}}"


def _scalar(name: str, value: str, rng: random.Random) -> str:
    """A scalar as YAML, in one of the spellings that mean it."""
    if name in ("required", "sensitive") or value in SPELLINGS or value.isalnum():
        # Booleans must not be in quotes; the others need none, and are text all the same.
        return value
    if "\n" not in value and "\t" not in value and rng.random() < 0.5:
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)


MANIFEST, MANIFEST_JSON, BOOTSTRAP = "/tmp/vars.yaml", "/tmp/vars.json", "/tmp/bootstrap.env"


def arranged(lab: Lab, seed: int) -> GeneratedWorld:
    """The world of a seed in the lab, in the place of the example."""
    lab.aws.reset()
    world = generate(seed, lab.world.bootstrap_env(DB_MASTER_SECRET_ARN=None, LICENSE_SECRET_ARN=None))
    world.seed_into(lab)
    write_files(lab, world.manifest_yaml(), world.bootstrap_text())
    lab.machine.path(MANIFEST_JSON).write_text(world.manifest_json())
    return world


def write_files(lab: Lab, manifest: str, bootstrap: str | None = None) -> None:
    """A manifest and a bootstrap file for `ask`."""
    lab.machine.path(MANIFEST).write_text(manifest)
    if bootstrap is None:
        bootstrap = "".join(f"{name}={shlex.quote(value)}\n" for name, value in lab.world.bootstrap_env().items())
    file = lab.machine.path(BOOTSTRAP)
    file.write_text(bootstrap)
    file.chmod(0o600)


def ask(lab: Lab, *options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`delphi-agent env` on those two files."""
    files = ("--manifest", MANIFEST, "--bootstrap", BOOTSTRAP)
    return lab.agent("--log-level", "debug", "env", "--format", "json", *files, *options, env=env)


def resolved(lab: Lab) -> tuple[dict[str, str], str]:
    """The environment that the agent makes of them, and what it said meanwhile."""
    done = ask(lab)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    return document["variables"], done.stderr
