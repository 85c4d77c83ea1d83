"""Why an image was not pulled: only the words of registry and engine tell one cause from another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from agent.dataclass import dataclass
from agent.errors import AccessDenied, AgentError, EngineError, HostError, ImageDamaged, ImageMissing, RegistryError
from agent.host.image_names import repository

Kind = Literal["refused", "missing", "damaged", "full", "killed", "throttled", "untrusted", "no engine", "network"]

# Searched for in this order. "pull access denied for X, repository does not exist or may require 'docker login'" is
# what the engine makes of every 403, whether the repository exists or not: that is a refusal.
_WORDS: tuple[tuple[Kind, str], ...] = (
    ("killed", r"^`\S+` was ended by signal \d+$"),
    ("full", r"no space left on device|disk quota exceeded"),
    ("throttled", r"toomanyrequests|Too Many Requests|[Rr]ate exceeded|rate limit|Throttling"),
    ("refused", r"unauthorized|no basic auth credentials|(?<!permission )denied|authentication required"),
    ("refused", r"authorization token has expired|authorization failed|401 Unauth|403 Forbid"),
    ("missing", r"manifest unknown|manifest for \S+ not found|not found: manifest|name unknown|: not found$"),
    ("missing", r"repository \S+ not found|no matching manifest for|invalid reference format|unknown blob"),
    ("damaged", r"verification failed for digest"),
    ("untrusted", r"x509: "),
    ("no engine", r"Cannot connect to the Docker daemon|error during connect"),
)
PERMANENT: frozenset[Kind] = frozenset({"refused", "missing", "full", "killed", "untrusted"})
# Another try of these often helps, and many do not.
BREAKS: frozenset[Kind] = frozenset({"damaged", "no engine", "network"})

_ERRORS: dict[Kind, type[AgentError]] = {
    "refused": AccessDenied,
    "missing": ImageMissing,
    "damaged": ImageDamaged,
    "full": HostError,
    "killed": HostError,
    "throttled": RegistryError,
    "untrusted": RegistryError,
    "no engine": EngineError,
    "network": RegistryError,
}
_NEXT: dict[Kind, str] = {
    "refused": "give the instance ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository, and see that"
    " ECR_REGISTRY is the registry of the image",
    "missing": "push the image, or correct ECR_TAG in the bootstrap file (`aws ecr describe-images` lists the tags)",
    "damaged": "see what changes the bytes on the way (a proxy that inspects TLS?); if nothing does, push the image"
    " again",
    "killed": "see what ended it (`dmesg`: out of memory?), then run it again",
    "full": "free some space (`df -h`, `docker system df`), then run it again",
    "throttled": "run it again later; when many instances start at once, ask for a higher quota of the registry"
    " (ECR: Rate of BatchGetImage requests)",
    "untrusted": "check the clock; if a proxy inspects TLS, put its authority into the host's trust store, where the"
    " engine looks, and restart the engine (`systemctl restart docker`)",
    "no engine": "see why the engine is in trouble: `journalctl -u docker`, then run it again",
    "network": "see that this host reaches the registry (proxy, DNS, route), then run it again",
}
# The gravest first, as exit codes rank (see PRECEDENCE).
_RANK = list(_ERRORS)


@dataclass(frozen=True)
class Fault:
    """One image that was not pulled, and why, in the registry's words."""

    image: str
    cause: str

    @property
    def kind(self) -> Kind:
        """What the words mean; what is not known may pass, as most faults of networks do."""
        # An image may be called access-denied-page.
        path = repository(self.image).partition("/")[2]
        said = self.cause.replace(self.image, "").replace(f"/{path}/", "//")
        return next((kind for kind, words in _WORDS if re.search(words, said)), "network")

    @property
    def text(self) -> str:
        """The cause with the image's name, which it often has already."""
        return self.cause if self.image in self.cause else f"{self.image}: {self.cause}"


def error(faults: Sequence[Fault]) -> AgentError:
    """One error for all of `faults` (at least one): of the gravest kind, with a line for each if there are several."""
    ranked = sorted(faults, key=lambda fault: (_RANK.index(fault.kind), fault.image))
    kind, several = ranked[0].kind, len(ranked) > 1
    cause = f"{len(ranked)} images were not pulled; {ranked[0].text}" if several else ranked[0].text
    details = [fault.text for fault in ranked] if several else ()
    return _ERRORS[kind]("pulling the images", cause, _NEXT[kind], details=details)
