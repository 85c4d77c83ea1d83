"""One thin adapter per AWS API; the only place that imports botocore."""
