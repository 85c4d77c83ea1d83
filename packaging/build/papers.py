"""The papers of the packages: the licences of everything in them, the list of parts (SBOM), the Debian changelog.

python papers.py TREE VERSION copyright|sbom|changelog
"""

from __future__ import annotations

import datetime as dt
import email.parser
import email.utils
import json
import os
import re
import sys
import textwrap
import uuid
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
MAINTAINER = "Delphi Agent Maintainers <maintainers@delphi-agent.example>"
# What the libraries' own words for their licences come to in SPDX's.
SPDX = {
    "Apache License 2.0": "Apache-2.0",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
}
# Debian has the texts of these: a package names them instead of bringing them again.
COMMON = {"Apache-2.0": "Apache License", "MPL-2.0": "Mozilla Public License"}


@dataclass(frozen=True)
class Part:
    """A library in the tree. `licence` is an SPDX expression, `texts` its licence and notice files."""

    name: str
    version: str
    licence: str
    home: str
    texts: tuple[Path, ...]


def parts(tree: Path) -> list[Part]:
    """Every library, by the papers that came with it."""
    return [_part(papers) for papers in sorted(tree.glob("*.dist-info"))]


def _part(papers: Path) -> Part:
    meta = email.parser.HeaderParser().parsestr((papers / "METADATA").read_text())
    stated = meta["License-Expression"] or (meta["License"] or "").splitlines()[0].strip()
    texts = tuple(path for path in sorted((papers / "licenses").rglob("*")) if path.is_file())
    if not stated or not texts:
        raise SystemExit(f"{papers.name} does not say under which licence it is")
    urls = dict(text.split(", ", 1) for text in meta.get_all("Project-URL") or [])
    home = meta["Home-page"] or next(iter(urls.values()), "")
    return Part(meta["Name"], meta["Version"], SPDX.get(stated, stated), home, texts)


def copyright_file(tree: Path) -> str:
    """Whose it is and under which terms, for /usr/share/doc: the package's own licence, then each library's."""
    rule = "-" * 78
    found = parts(tree)
    lines = ["delphi-agent is under the Apache License, version 2.0:", "/usr/share/common-licenses/Apache-2.0"]
    lines += ["", "In /usr/lib/delphi-agent are these libraries beside it, as their authors published them but for"]
    lines += ["parts that were left out:", ""]
    lines += [f"  {part.name} {part.version}: {part.licence}" for part in found]
    for part in found:
        lines += [
            "",
            rule,
            f"{part.name} {part.version}",
            *([part.home] if part.home else []),
            f"License: {part.licence}",
        ]
        for path in part.texts:
            lines += ["", *_text(path)]
    return "\n".join(lines) + "\n"


def _text(path: Path) -> list[str]:
    text = path.read_text().strip("\n")
    for name, title in COMMON.items():
        if text.lstrip().startswith(title) and len(text) > 9000:  # noqa: PLR2004 - the whole text, not a word about it
            return [f"The text is in /usr/share/common-licenses/{name}."]
    return text.expandtabs().splitlines()


def sbom(tree: Path, version: str) -> str:
    """CycloneDX 1.5: https://cyclonedx.org/docs/1.5/json/."""
    when = dt.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), dt.UTC)
    agent = {
        "type": "application",
        "bom-ref": "delphi-agent",
        "name": "delphi-agent",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{part.name.lower()}@{part.version}",
            "name": part.name,
            "version": part.version,
            "purl": f"pkg:pypi/{part.name.lower()}@{part.version}",
            "licenses": [{"expression": part.licence}],
        }
        for part in parts(tree)
    ]
    document: dict[str, object] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": when.isoformat(), "component": agent},
        "components": components,
        "dependencies": [{"ref": "delphi-agent", "dependsOn": [item["bom-ref"] for item in components]}],
    }
    # Of what it lists: the same list has the same number.
    name = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document))
    return json.dumps({"serialNumber": f"urn:uuid:{name}", **document}, indent=2) + "\n"


def changelog(version: str) -> str:
    """CHANGELOG.md's part for this version (else of what is not released yet) as Debian writes it."""
    text = (CHECKOUT / "CHANGELOG.md").read_text()
    sections = dict(re.findall(r"(?ms)^## \[([^]]+)\][^\n]*\n(.*?)(?=^## |\Z)", text))
    items = re.findall(r"(?m)^- (.*)$", sections.get(version) or sections["Unreleased"])
    when = email.utils.formatdate(int(os.environ["SOURCE_DATE_EPOCH"]))
    wrapped = [textwrap.fill(item, 78, initial_indent="  * ", subsequent_indent="    ") for item in items]
    return (
        f"delphi-agent ({version}) stable; urgency=medium\n\n" + "\n".join(wrapped) + f"\n\n -- {MAINTAINER}  {when}\n"
    )


if __name__ == "__main__":
    made = {
        "copyright": lambda: copyright_file(Path(sys.argv[1])),
        "sbom": lambda: sbom(Path(sys.argv[1]), sys.argv[2]),
        "changelog": lambda: changelog(sys.argv[2]),
    }
    sys.stdout.write(made[sys.argv[3]]())
