"""A machine image: the images of a bundle are on it before its first boot, and nothing else of the bundle is."""

from __future__ import annotations

import json

from tests.lab.lab import Lab
from tests.lab.world import BUNDLE
from tests.lab_tests import reports
from tests.lab_tests.deploys import BOOTSTRAP, SERVICES

BAKE = (
    "bake --role api --config-bucket delphi-config --config-ref v1 --region eu-west-1"
    " --ecr-registry 123456789012.dkr.ecr.eu-west-1.amazonaws.com --ecr-tag 1.4.2 --json"
).split()


def test_what_was_baked_is_there_at_the_first_boot_and_nothing_else_is(instance: Lab) -> None:
    instance.engine.forget_images()
    instance.machine.path(BOOTSTRAP).unlink()

    done = instance.agent(*BAKE)

    assert done.returncode == 0, done.stderr
    (image,) = json.loads(done.stdout)["images"]
    assert image["name"].endswith(":1.4.2")
    assert "@sha256:" in image["digests"][0]
    assert image["id"] in {item["Id"] for item in instance.engine._api("GET", "/images/json")[1]}
    assert not instance.machine.path(f"{SERVICES}/api").exists()
    assert not instance.machine.path("/var/lib/delphi-agent/state.json").exists()
    instance.world.write_bootstrap()
    instance.registry.watch()
    assert instance.agent("init").returncode == 0
    assert [line for line in instance.registry.requests("/blobs/") if line.startswith("GET")] == []


def test_an_image_whose_name_only_a_boot_knows_is_named_and_not_guessed(instance: Lab) -> None:
    text = (BUNDLE / "api/docker-compose.yaml").read_text()
    instance.world.put_file("api/docker-compose.yaml", text.replace("${ECR_TAG}", "${ECR_TAG}-${REDIS_HOST}"))

    done = instance.agent(*BAKE)

    assert done.returncode == 65, done.stdout
    assert "no image can be named" in reports.errors(done.stderr)[0]["cause"]
