"""Which variable names steer the host's own tools, and so are never taken from AWS (contract section 3).

The resolved environment reaches `docker compose`, hooks and `exec`: a parameter called `DOCKER_HOST` or `LD_PRELOAD`
would turn whoever may write parameters into root on the instance. Names that only an application reads (`NODE_OPTIONS`,
`HTTP_PROXY`, `HOSTNAME`, `AWS_REGION`, ...) pass.
"""

from __future__ import annotations

# These two pass when the bootstrap file sets them: whoever writes that file is the host's owner already.
ALLOWED_FROM_BOOTSTRAP = frozenset({"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"})

_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDX_", "BUILDKIT_", "LD_", "BASH_", "MALLOC_", "XDG_")
_NAMES = frozenset(
    # the shell and the loader
    "PATH HOME SHELL IFS PS4 BASHOPTS SHELLOPTS POSIXLY_CORRECT CDPATH GLOBIGNORE TMPDIR GCONV_PATH GLIBC_TUNABLES "
    "LOCPATH NLSPATH RES_OPTIONS LOCALDOMAIN HOSTALIASES "
    # interpreters that hooks may be written in
    "PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONBREAKPOINT PERL5LIB PERL5OPT PERL5DB RUBYLIB RUBYOPT "
    # Go programs, as Docker's are
    "GODEBUG GOTRACEBACK SSH_AUTH_SOCK".split()
)


def steers_the_host(name: str) -> bool:
    """Whether a variable of this name would change what the host's own tools do, instead of what a container sees."""
    return name in _NAMES or name.startswith(_PREFIXES)
