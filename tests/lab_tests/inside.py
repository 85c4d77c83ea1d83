"""boto3 as a program on the instance would use it: the metadata service's credentials, AWS's real names."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.lab.aws_model import Json
from tests.lab.lab import Lab
from tests.lab.pki import TRUST_STORE

_PRELUDE = """
import json, sys, boto3, botocore.exceptions
from botocore.config import Config
session = boto3.Session(region_name="eu-west-1")
def client(name, attempts=1, timeout=2):
    return session.client(name, config=Config(
        retries={"total_max_attempts": attempts}, connect_timeout=timeout, read_timeout=timeout))
def error_of(call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    except Exception as error:
        return type(error).__name__
def show(value):
    print(json.dumps(value, default=str))
"""


def boto3_inside(lab: Lab, code: str) -> Json:
    """What `code`, run on the instance, gives to show()."""
    done = _run(lab, code)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _run(lab: Lab, code: str) -> subprocess.CompletedProcess[str]:
    # boto3 has a trust store of its own unless told; the system's is the one that the lab's CA is in.
    return lab.machine.run([sys.executable, "-c", _PRELUDE + code], env={"AWS_CA_BUNDLE": TRUST_STORE})
