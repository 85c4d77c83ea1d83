"""Variables that the manifest declares and nothing uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.checks.bundle import BundleFile
from agent.checks.manifest import Declared
from agent.compose_file import ComposeFile, Finding, Place
from agent.compose_file.finding import warning
from agent.steps.bootstrap import DOCUMENTED
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The agent's own work for the Media role reads them.
_OF_THE_AGENT = "MEDIA_TLS_"


def findings(composed: ComposeFile, declared: Declared, files: tuple[BundleFile, ...]) -> Iterator[Finding]:
    """A warning for each variable without a use; `scope: init` ones are for the host and need none."""
    used = {use.name for use in composed.uses}.union(*(service.takes for service in composed.services))
    used |= {name for word in declared.extra_words for name in _NAME.findall(word)}
    used = used.union(*(file.words for file in files), DOCUMENTED, ALLOWED_FROM_BOOTSTRAP)
    for variable in declared.variables:
        used |= set(variable.template.names) if variable.template else set()
        used |= {part.name for part in [variable.required_when] if part}
        used |= {part.arn_from for part in [variable.secret] if part}
    for variable in declared.variables:
        if variable.name not in used and variable.scope != "init" and not variable.name.startswith(_OF_THE_AGENT):
            yield warning(
                Place(declared.name, variable.line, variable.column),
                "variable-unused",
                f"{variable.name} is declared, and nothing uses it",
                "remove it, add it to a service's `environment`, or mark it `scope: init` when only the host needs it",
            )
