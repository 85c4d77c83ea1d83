"""One thin adapter per AWS API; the only place that imports boto3 and botocore."""
