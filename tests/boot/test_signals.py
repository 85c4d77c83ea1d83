"""What an Auto Scaling group hears of a boot that systemd looks after: from the run, or from the unit."""

from __future__ import annotations

import pytest

from tests.boot.image import bake_in, enable, verified
from tests.boot.instance import Instance
from tests.boot.site import Site
from tests.lab.process import wait_until

pytestmark = pytest.mark.slow

SIGNAL_UNIT = "delphi-agent-signal"


class Group:
    """A group that waits for the instance, and what it has heard since."""

    def __init__(self, site: Site) -> None:
        self._aws = site.aws
        self._before = len(self._aws.signals())
        self._aws.launch()

    @property
    def told(self) -> list[str]:
        heard = self._aws.signals()[self._before :]
        return [result for item in heard if (result := item.get("LifecycleActionResult"))]

    @property
    def heartbeats(self) -> int:
        heard = self._aws.signals()[self._before :]
        return sum(item["action"] == "RecordLifecycleActionHeartbeat" for item in heard)


def boot(site: Site, instance: Instance, **changes: str) -> Group:
    """Power on an instance of a group, whose bootstrap file is in its image."""
    group = Group(site)
    bake_in(instance, site.world.bootstrap_env(SIGNAL_ASG="auto", **changes))
    enable(instance)
    instance.boot()
    return group


def wait_given_up(instance: Instance) -> None:
    """Until the boot's unit has failed for good, and the unit that tells it is done."""
    instance.wait_unit("delphi-agent", "failed")
    wait_until(lambda: instance.unit(SIGNAL_UNIT, "ExecMainExitTimestampMonotonic") != "0", "the unit that tells")
    assert instance.unit(SIGNAL_UNIT, "Result") == "success", instance.journal(SIGNAL_UNIT)


def test_a_verified_boot_continues_the_launch_and_a_reboot_tells_nobody(site: Site, instance: Instance) -> None:
    group = boot(site, instance)
    instance.wait_unit("delphi-agent.target", "active")
    assert group.heartbeats >= 1
    assert group.told == ["CONTINUE"]

    instance.reboot()
    instance.wait_unit("delphi-agent.target", "active")

    assert group.told == ["CONTINUE"]
    assert instance.unit(SIGNAL_UNIT, "ExecMainStartTimestampMonotonic") == "0", "nothing failed"


def test_a_boot_that_fails_for_good_abandons_the_launch_once(site: Site, instance: Instance) -> None:
    group = boot(site, instance, ECR_TAG="no-such-tag")
    wait_given_up(instance)

    assert instance.unit("delphi-agent.target") == "inactive"
    assert instance.unit("delphi-agent", "ExecMainStatus") == "65"
    assert group.told == ["ABANDON"], "by the run; the unit finds that it was told"
    assert instance.unit("delphi-agent", "NRestarts") == "0", "another attempt would not help"


def test_a_held_failure_is_told_by_the_unit_once_its_time_is_over(site: Site, instance: Instance) -> None:
    group = boot(site, instance, ECR_TAG="no-such-tag", ON_FAILURE="hold", ON_FAILURE_HOLD_SECONDS="10")
    instance.wait_unit("delphi-agent", "failed")
    assert group.told == [], "somebody may look at it"
    assert "is kept for debugging until " in instance.status()["text"]

    wait_given_up(instance)

    assert group.told == ["ABANDON"]
    assert "ABANDON to the hook boot of api" in instance.journal(SIGNAL_UNIT)


def test_a_killed_boot_is_tried_again_and_continues_the_launch(site: Site, instance: Instance) -> None:
    group = boot(site, instance)
    wait_until(lambda: group.heartbeats > 0, "the first heartbeat")
    instance.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "delphi-agent", check=True)

    instance.wait_unit("delphi-agent.target", "active")

    assert instance.unit("delphi-agent", "NRestarts") == "1"
    assert verified(instance) == ["verified"]
    assert group.told == ["CONTINUE"]
