"""delphi-agent: takes an instance from "cloud-init finished" to "containers seen healthy"."""

__version__ = "0.1.0"
