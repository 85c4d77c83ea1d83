"""Takes out of botocore's data what no call needs: nine tenths of what is left of it are words for people.

The agent reads the descriptions of its services at every run: without their documentation, and without the endpoints
of other services, that takes 15 ms and 12 MiB less. Every operation, shape, error and rule stays.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

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


def _read(path: Path) -> Any:  # noqa: ANN401 - any JSON
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)  # noqa: TID251 - its own library's data, at build time


def _write(path: Path, document: object) -> None:
    """As plain JSON: what is left is small, and need not be unpacked at every run."""
    path.unlink()
    path.with_name(path.name.removesuffix(".gz")).write_text(json.dumps(document, separators=(",", ":")))
