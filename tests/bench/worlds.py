"""Worlds to measure in: what is in the bucket, in Parameter Store and in Secrets Manager, made from a few numbers.

Both sides of the suite make the same world from the same numbers, so that only the numbers have to be told.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
import zlib
from dataclasses import dataclass, field

from tests.lab.aws_model import ACCOUNT, REGION
from tests.lab.registry import PASSWORD
from tests.lab.world import DATABASE_SECRET_NAME, NAMESPACE, PREFIX, REF, ROLE

SECRET_KEYS = 4
"""How many keys a secret of the role has."""
PART = 8 << 20
"""Larger objects were uploaded in parts of this size, as the AWS CLI does: their ETag is no MD5 of the content."""
_BLOCK = 1 << 20
_TEMPLATE = "postgresql://${DATABASE_USERNAME}:${DATABASE_PASSWORD}@${P_0000}/app"
_FIXED = 2  # compose file and manifest
_UPLOADED = 1_767_225_600  # 2026-01-01, when everything was uploaded that has not changed since


@dataclass(frozen=True)
class Spec:
    """The size of a world. `files` and `total` are those of the bundle, its compose file and manifest among them.

    `big` adds one object of so many bytes. `health` is how often a service's health is looked at, in seconds.
    """

    name: str = "small"
    files: int = 26
    total: int = 200_000
    parameters: int = 40
    secrets: int = 3
    services: int = 5
    big: int = 0
    health: float = 0.5


@dataclass(frozen=True)
class Changes:
    """How often something was changed since the world was made."""

    file: int = 0
    parameter: int = 0


SPECS = {
    spec.name: spec
    for spec in (
        Spec(),
        Spec(name="large", files=2_000, total=50_000_000, parameters=400, secrets=30),
        Spec(name="bulk", big=500_000_000),
    )
}


@dataclass(frozen=True)
class Item:
    """An object of the bucket."""

    body: bytes = field(repr=False)
    etag: str
    checksum: str
    """The CRC32 that the SDK's uploads bring, in base64; of an object in parts the checksum of the parts' checksums."""
    modified: float


@dataclass(frozen=True)
class World:
    """Everything that AWS has. Parameters and secrets by their whole names; secrets with their texts."""

    items: dict[str, Item]
    parameters: dict[str, str]
    secrets: dict[str, str]
    password: str = PASSWORD
    token_expires: float = 0.0


def secret_arn(name: str) -> str:
    """As Secrets Manager makes it: with six characters that it draws."""
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf"


def build(spec: Spec, changes: Changes = Changes()) -> World:
    """The world of this size after these changes; always the same."""
    below = f"{NAMESPACE}/{ROLE}"
    parameters = {f"/{below}/{name}": f"value-of-{name}" for name in parameter_names(spec)}
    if changes.parameter:
        parameters[f"/{below}/{parameter_names(spec)[0]}"] = f"changed-{changes.parameter}"
    secrets = {
        f"{below}/{name}": json.dumps({key: f"CANARY-{key}" for key in keys})
        for name, keys in secret_keys(spec).items()
    }
    secrets[DATABASE_SECRET_NAME] = json.dumps({"username": "delphi_admin", "password": "CANARY-database"})
    items = {f"{PREFIX}/{REF}/{path}": _item(body) for path, body in _bundle(spec).items()}
    if changes.file:
        text = f"changed {changes.file:06d}\n".encode() * (10 + changes.file % 7)
        items[f"{PREFIX}/{REF}/{changing_file()}"] = _item(text, _UPLOADED + changes.file)
    return World(items, parameters, secrets, token_expires=time.time() + 12 * 3600)


def parameter_names(spec: Spec) -> list[str]:
    return [f"P_{number:04d}" for number in range(spec.parameters)]


def secret_keys(spec: Spec) -> dict[str, list[str]]:
    """The keys of every secret of the role; the first is the usual one."""
    names = ["secrets", *(f"more-{number:02d}" for number in range(1, spec.secrets))][: spec.secrets]
    return {name: [f"S_{at:03d}_{key}" for key in range(SECRET_KEYS)] for at, name in enumerate(names)}


def service_names(spec: Spec) -> list[str]:
    return [f"app{number}" for number in range(1, spec.services + 1)]


def changing_file() -> str:
    """The file that changes; the first service mounts it."""
    return f"{ROLE}/config/app1.conf"


def _bundle(spec: Spec) -> dict[str, bytes]:
    chance = random.Random(spec.name)
    files = {f"{ROLE}/docker-compose.yaml": compose_file(spec).encode(), f"{ROLE}/vars.yaml": manifest(spec).encode()}
    size = max(16, (spec.total - sum(map(len, files.values()))) // max(1, spec.files - _FIXED))
    for name in service_names(spec):
        files[f"{ROLE}/config/{name}.conf"] = chance.randbytes(size)
    number = 0
    while len(files) < spec.files:
        folder = "common" if number % 5 == 0 else ROLE
        files[f"{folder}/data/{number // 100:02d}/file-{number:05d}.bin"] = chance.randbytes(size)
        number += 1
    if spec.big:
        block = chance.randbytes(_BLOCK)
        files[f"{ROLE}/data/big.bin"] = (block * (spec.big // _BLOCK + 1))[: spec.big]
    return files


def _item(body: bytes, modified: float = _UPLOADED) -> Item:
    if len(body) <= PART:
        crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        return Item(body, hashlib.md5(body).hexdigest(), crc, modified)
    parts = [body[start : start + PART] for start in range(0, len(body), PART)]
    etag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    crcs = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    crc = base64.b64encode(zlib.crc32(crcs).to_bytes(4, "big")).decode()
    return Item(body, f"{etag}-{len(parts)}", f"{crc}-{len(parts)}", modified)


def manifest(spec: Spec) -> str:
    """The manifest: every parameter, every key of a secret, two fields of an external secret, and a template."""
    secret = "secret: {arn_from: DB_MASTER_SECRET_ARN, type: json, key: %s}"
    lines = [
        "{name: ENVIRONMENT, source: local, required: true}",
        "{name: DB_MASTER_SECRET_ARN, source: local, required: true, scope: init}",
        "{name: PRIVATE_IP, required: true}",
        *(f"{{name: {name}, required: true}}" for name in parameter_names(spec)),
        *(f"{{name: {key}, required: true, sensitive: true}}" for keys in secret_keys(spec).values() for key in keys),
        "{name: REDIS_PORT, default: '6379'}",
        f"{{name: DATABASE_USERNAME, required: true, {secret % 'username'}}}",
        f"{{name: DATABASE_PASSWORD, required: true, sensitive: true, {secret % 'password'}}}",
        f"{{name: DATABASE_URL, sensitive: true, compose: {{template: '{_TEMPLATE}'}}}}",
    ]
    return f"service: {ROLE}\nvariables:\n" + "".join(f"  - {line}\n" for line in lines)


def compose_file(spec: Spec) -> str:
    """The services, each with its share of the variables and a mounted file; they stop at once on SIGTERM."""
    names = [*parameter_names(spec), *(key for keys in secret_keys(spec).values() for key in keys)]
    text = "services:\n"
    for number, name in enumerate(service_names(spec)):
        mine = ["ENVIRONMENT", "PRIVATE_IP", "REDIS_PORT", "DATABASE_URL", *names[number :: spec.services]]
        variables = "".join(f"      - {variable}\n" for variable in mine)
        text += f"""\
  {name}:
    image: ${{ECR_REGISTRY}}/{name}:${{ECR_TAG}}
    init: true
    restart: unless-stopped
    environment:
{variables}\
    volumes:
      - ./config/{name}.conf:/etc/app.conf:ro
    healthcheck:
      test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:3001/health"]
      interval: {spec.health * 1000:.0f}ms
      timeout: 2s
      retries: 8
"""
    return text
