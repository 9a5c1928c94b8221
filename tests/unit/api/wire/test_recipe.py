"""Specifications of recipes."""

from __future__ import annotations

from services.api.wire import recipe as recipe_wire
from tests.support import samples


def test_a_specification_omits_what_the_system_filled() -> None:
    task = samples.submission()
    task["container"]["volumes"] = [
        {"name": "home", "acl": "rw", "path": "/home/alice", "mount": "/mnt/home"},
        {"name": "go-docker", "acl": "rw", "path": "/shared/1", "mount": "/mnt/go-docker"},
    ]
    task["command"]["script"] = "/shared/1/cmd.sh"
    task["container"]["meta"] = {"Node": {"Name": "n1"}}
    spec = recipe_wire.specification(task)
    assert spec["container"]["volumes"] == [{"name": "home", "acl": "rw"}]
    assert "/shared" not in str(spec)
    assert "n1" not in str(spec)
    assert spec["command"] == {"interactive": False, "cmd": "/bin/sleep 30"}
    assert set(spec) == {"meta", "requirements", "container", "command"}
