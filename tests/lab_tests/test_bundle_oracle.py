"""The staged bundle against `aws s3 sync`, on random trees of names that people and tools come up with.

The two differ where the CLI is at fault (contract section 1), and that is shown here: a change of equal size is missed,
and what the bucket lacks stays. DELPHI_LONG=1 makes more worlds, DELPHI_SEED=N gives one again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.aws_model import BUCKET
from tests.lab.host import CHECKOUT, compose_plugin
from tests.lab.lab import Lab
from tests.lab.pki import TRUST_STORE

HERE = Path(__file__).parent
SEED = int(os.environ.get("DELPHI_SEED", random.randrange(10**9)))
WORLDS = 60 if os.environ.get("DELPHI_LONG") == "1" else 8
FILES = 60
TOP = "deployments/oracle/"
SYNCED, STAGED = "/run/synced", "/run/staged"
Tree = Mapping[str, bytes]

NAMES = (
    "a b.c A-Z +plus+ a+b%2Bc 100% %41 %2e%2e %00 ' \" `id` $HOME ${X} $(x) \\ a\\b ~ ~root -rf --delete -- .hidden "
    "... ..x x.. .git .env.example Caddyfile docker-compose.yaml init.sh no.sh.txt # ; & | < > ? * [a] {a,b} ! = , @ : "
    "ä Ä2 é ñ 東京 🚀 👩‍👩‍👧 نص ß ﬁ2 \u00a0 \u200b \u202e \ufeff \ufffd i\u0307 \u1100\u1161 a\u0301"
).split(" ")
SPACED = ["two words", " leading", "trailing ", "  ", "a  b", "semi;colon space", "x" * 120, "é" * 60]
CONTENTS = [b"", b"x", b"#!/bin/sh\n", b"\0\xff\r\n", b"service: api\n", b"long " * 500]

DRIVER = """
import json, sys
from pathlib import Path
from agent.aws.s3 import ConfigBucket
from agent.aws.credentials import Credentials, Keys
from agent.aws.session import AwsSession
from agent.host.clock import Deadline, SystemClock
from agent.host.paths import Paths
from agent.host.proxy import Proxies
from agent.secret import Secret
from agent.steps import bundle
from agent.steps.stage import stage
from agent.steps.records import BundleFile

bucket_name, top, *refs = sys.argv[1:]
keys = Keys(Secret("AKIALAB"), Secret("lab"))
session = AwsSession("eu-west-1", Credentials(source="test", fetch=lambda: keys), Proxies(), {})
bucket, report = ConfigBucket(session.s3(), bucket_name), {}
for ref in refs:
    paths, kept = Paths(Path(top) / ref), Path(top) / f"{ref}.json"
    applied = {item["path"]: BundleFile(**item) for item in json.loads(kept.read_text())} if kept.exists() else {}
    listing = bundle.find(bucket, "oracle", ref, "api")
    deadline = Deadline.after(SystemClock(), 300)
    staged = stage(listing, bucket, paths, applied=applied, deadline=deadline, tell=lambda _, __: None)
    for path in (*staged.added, *staged.changed):
        (paths.services / path).parent.mkdir(parents=True, exist_ok=True)
        (staged.folder / path).replace(paths.services / path)
    for path in staged.removed:
        (paths.services / path).unlink()
    kept.write_text(json.dumps([vars(item) for item in staged.files.values()]))
    report[ref] = {"changed": staged.changed, "removed": staged.removed, "fetched": staged.fetched}
print(json.dumps(report))
"""


@pytest.fixture(scope="session")
def aws_cli() -> Path:
    """The AWS CLI, in the lab's cache: the machine sees the host's files."""
    folder = compose_plugin().parent / "awscli"
    subprocess.run([HERE / "resolution_awscli.sh", sys.executable, folder], check=True, timeout=300)
    return folder / "bin/aws"


def random_tree(chance: random.Random) -> dict[str, bytes]:
    """Files below `api` and `common` whose names do not stand in each other's way on any file system."""
    tree: dict[str, bytes] = {"api/vars.yaml": b"service: api\n"}
    taken = {"api", "api/vars.yaml", "common"}
    folders = ["api", "api", "common"]
    while len(tree) < FILES:
        folder, name = chance.choice(folders), chance.choice(NAMES + SPACED)
        path = f"{folder}/{name}"
        if len(path) > 600 or plain(path) in taken:
            continue
        taken.add(plain(path))
        if chance.random() < 0.3:
            folders.append(path)
        else:
            tree[path] = chance.choice(CONTENTS) + (path.encode() if chance.random() < 0.5 else b"")
    return tree


def plain(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def upload(lab: Lab, ref: str, tree: Tree) -> None:
    client = lab.aws.client("s3")
    for path, content in tree.items():
        client.put_object(Bucket=BUCKET, Key=f"{TOP}{ref}/{path}", Body=content)


def sync(lab: Lab, aws_cli: Path) -> dict[str, dict[str, bytes]]:
    """What the AWS CLI makes of the bucket: a tree for each ref."""
    argv = [str(aws_cli), "s3", "sync", "--only-show-errors", f"s3://{BUCKET}/{TOP}", SYNCED]
    # The CLI has a trust store of its own unless told; the system's is the one that the lab's CA is in.
    env = {"AWS_CA_BUNDLE": TRUST_STORE, "AWS_DEFAULT_REGION": "eu-west-1", "LC_ALL": "C.UTF-8"}
    done = lab.machine.run(argv, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return {path.name: tree_of(path) for path in lab.machine.path(SYNCED).iterdir()}


def stage(lab: Lab, refs: list[str]) -> tuple[dict[str, dict[str, bytes]], dict[str, dict[str, list[str]]]]:
    """What the agent makes of it, and what it says it did."""
    lab.machine.path(STAGED).mkdir(exist_ok=True)
    argv = [sys.executable, "-c", DRIVER, BUCKET, STAGED, *refs]
    done = lab.machine.run(argv, env={"PYTHONPATH": str(CHECKOUT), "LC_ALL": "C.UTF-8"}, timeout=300)
    assert done.returncode == 0, done.stderr
    trees = {ref: tree_of(lab.machine.path(f"{STAGED}/{ref}/opt/services")) for ref in refs}
    return trees, json.loads(done.stdout)


def tree_of(top: Path) -> dict[str, bytes]:
    """Every file with its content; what is left of the staged tree has no part in it."""
    return dict(_files(top, top))


def _files(folder: Path, top: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.iterdir():
        if path.name == ".delphi-agent-staging":
            continue
        if path.is_dir():
            yield from _files(path, top)
        else:
            yield str(path.relative_to(top)), path.read_bytes()


def test_every_tree_is_byte_for_byte_what_the_aws_cli_makes_of_the_bucket(instance: Lab, aws_cli: Path) -> None:
    again = f"run again with DELPHI_SEED={SEED}"
    worlds = {f"w{number}": random_tree(random.Random(SEED + number)) for number in range(WORLDS)}
    for ref, tree in worlds.items():
        upload(instance, ref, tree)

    ours, _ = stage(instance, list(worlds))
    theirs = sync(instance, aws_cli)

    assert {ref: differing(ours[ref], theirs[ref]) for ref in worlds if ours[ref] != theirs[ref]} == {}, again
    assert {ref: differing(ours[ref], tree) for ref, tree in worlds.items() if ours[ref] != tree} == {}, again


def differing(one: Tree, other: Tree) -> dict[str, tuple[bytes | None, bytes | None]]:
    return {path: (one.get(path), other.get(path)) for path in one.keys() | other if one.get(path) != other.get(path)}


def test_after_any_change_ours_is_the_bucket_and_the_cli_s_has_its_two_faults(instance: Lab, aws_cli: Path) -> None:
    chance = random.Random(SEED)
    before = random_tree(chance)
    upload(instance, "w", before)
    stage(instance, ["w"])
    sync(instance, aws_cli)
    gone, same_size, longer, *_ = chance.sample([path for path, content in before.items() if content], 3)
    flipped = bytes([before[same_size][0] ^ 1]) + before[same_size][1:]
    now = {**before, same_size: flipped, longer: before[longer] + b"more", "api/conf-new/new": b"new"}
    upload(instance, "w", now)
    instance.aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{TOP}w/{gone}")
    del now[gone]

    ours, told = stage(instance, ["w"])
    theirs = sync(instance, aws_cli)

    again = f"run again with DELPHI_SEED={SEED}"
    assert differing(ours["w"], now) == {}, again
    assert told["w"] == {"changed": sorted([same_size, longer]), "removed": [gone], "fetched": 3}, again
    faults = {same_size: (before[same_size], flipped), gone: (before[gone], None)}
    assert differing(theirs["w"], now) == faults, again


def test_an_empty_folder_s_marker_is_no_file_to_either(instance: Lab, aws_cli: Path) -> None:
    upload(instance, "w", {"api/vars.yaml": b"service: api\n", "api/": b"", "api/tls/": b"", "common/a b/": b""})

    ours, _ = stage(instance, ["w"])

    assert ours["w"] == sync(instance, aws_cli)["w"] == {"api/vars.yaml": b"service: api\n"}
