"""Reads compose files offline: services, uses of variables, and what Compose would refuse. No engine, no values."""

from agent.compose_file.finding import Finding, Place
from agent.compose_file.project_file import ComposeFile, read
from agent.compose_file.service import EnvFile, Service
from agent.compose_file.uses import Use

__all__ = ["ComposeFile", "EnvFile", "Finding", "Place", "Service", "Use", "read"]
