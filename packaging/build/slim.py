"""Takes out of botocore's data what no call of the agent needs.

It reads the descriptions of its services at every run. Without their documentation, and without the endpoints of other
services, that takes 15 ms and 12 MiB less; without the operations that the agent never calls, and the shapes that only
those have, a fifth of what importing the SDK and making four clients costs goes as well. What stays of an operation is
all of it: its members, errors, traits and rules.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Every operation that the agent or the parts of botocore that it uses may call. S3's clients look for a bucket's region
# with HeadBucket, and open a session for a directory bucket; STS is asked for keys by botocore's own providers.
OPERATIONS = {
    "autoscaling": {
        "CompleteLifecycleAction",
        "DescribeAutoScalingInstances",
        "DescribeLifecycleHooks",
        "RecordLifecycleActionHeartbeat",
    },
    "cloudformation": {"SignalResource"},
    "ecr": {"GetAuthorizationToken"},
    "s3": {"CreateSession", "GetObject", "HeadBucket", "ListObjectsV2"},
    "secretsmanager": {"BatchGetSecretValue", "GetSecretValue", "ListSecrets"},
    "ssm": {"GetParametersByPath"},
    "sts": {"AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"},
}
# Read by generators of documentation alone.
_FOR_PEOPLE = ("examples-1",)
# Of these botocore itself asks for the documentation, at the first call of a client that has any.
_READ_WHOLE = frozenset({"clientContextParams"})
_WORDS = frozenset({"documentation", "documentationUrl"})


def slim(data: Path) -> None:
    """Rewrite the files below botocore's data folder, which holds the wanted services alone."""
    prefixes = set()
    for path in sorted(file for file in data.rglob("*.json*") if file.parent != data):
        if path.name.partition(".")[0] in _FOR_PEOPLE:
            path.unlink()
            continue
        model = without_words(_read(path))
        if path.name.startswith("service-2.json"):
            model = with_operations(model, OPERATIONS[path.parents[1].name])
        metadata = model.get("metadata", {})
        prefixes |= {metadata[key] for key in ("endpointPrefix", "signingName") if key in metadata}
        _write(path, model)
    services = prefixes | {folder.name for folder in data.iterdir() if folder.is_dir()}
    for path in data.glob("endpoints.json*"):
        endpoints = _read(path)
        for partition in endpoints["partitions"]:
            partition["services"] = {
                name: service for name, service in partition["services"].items() if name in services
            }
        _write(path, endpoints)


def without_words(model: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same without documentation. A member or shape of that name is a description itself, and stays."""
    if isinstance(model, dict):
        return {
            key: value if key in _READ_WHOLE else without_words(value)
            for key, value in model.items()
            if not (key in _WORDS and isinstance(value, str))
        }
    if isinstance(model, list):
        return [without_words(item) for item in model]
    return model


def with_operations(model: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    """The service's description with these operations alone, and every shape that they are made of."""
    operations = {name: model["operations"][name] for name in sorted(wanted)}
    needed: set[str] = set()
    left = list(_shapes_in(operations))
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += _shapes_in(model["shapes"][name])
    shapes = {name: shape for name, shape in model["shapes"].items() if name in needed}
    return {**model, "operations": operations, "shapes": shapes}


def _shapes_in(part: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """The names of the shapes that a part of a description refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for value in part.values():
            yield from _shapes_in(value)
    elif isinstance(part, list):
        for item in part:
            yield from _shapes_in(item)


def _read(path: Path) -> Any:  # noqa: ANN401 - any JSON
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)  # noqa: TID251 - its own library's data, at build time


def _write(path: Path, document: object) -> None:
    """As plain JSON: what is left is small, and need not be unpacked at every run."""
    path.unlink()
    path.with_name(path.name.removesuffix(".gz")).write_text(json.dumps(document, separators=(",", ":")))
