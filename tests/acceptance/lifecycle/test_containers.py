"""Tests specific to containers: images, limits, networks, and removal by others."""

from __future__ import annotations

import httpx
import pytest

from tests.acceptance.conftest import Place
from tests.acceptance.use.client import output
from tests.support.servers.engine import IMAGE_WITHOUT_SHELL

# The fixture `place` comes for Docker alone here.
pytestmark = [pytest.mark.docker, pytest.mark.parametrize("module_ground", ["docker"], indirect=True, scope="module")]


def in_image(place: Place, image: str, cmd: str = "true", **requirements: object) -> dict[str, object]:
    sent = place.ground.task("image", cmd, **requirements)
    return {**sent, "container": {"image": image, "volumes": []}}


def test_an_image_that_is_not_to_be_had_ends_the_task_with_that_reason(place: Place) -> None:
    status = place.client.run(in_image(place, "godocker-no-such-image:1"), timeout=60)["status"]
    assert status["primary"] == "over"
    assert "godocker-no-such-image:1" in status["reason"]
    assert "date_running" not in status


def test_an_image_without_a_shell_ends_the_task_with_that_reason(place: Place) -> None:
    status = place.client.run(in_image(place, IMAGE_WITHOUT_SHELL))["status"]
    assert "has no /bin/sh" in status["reason"]


def test_a_start_that_the_engine_refuses_ends_the_task_with_its_words(place: Place) -> None:
    sent = place.ground.task("refused", "true")
    volumes = [{"name": "gone", "acl": "ro"}]
    status = place.client.run({**sent, "container": {"image": "busybox:latest", "volumes": volumes}})["status"]
    assert "does not exist on the node" in status["reason"]


def test_a_task_that_takes_more_memory_than_it_asked_for_ends_with_that_reason(place: Place) -> None:
    task = place.client.run(place.ground.task("greedy", "tail /dev/zero", ram=0.032))
    assert "out of memory" in task["status"]["reason"]
    assert task["status"]["exitcode"] == 137


def test_a_container_that_an_outsider_removes_ends_its_task_with_that_reason(place: Place) -> None:
    task_id = place.client.submit(place.ground.task("removed", "sleep 600"))
    place.client.wait(task_id, "running")
    transport = httpx.HTTPTransport(uds=place.ground.engine_socket)
    with httpx.Client(transport=transport, base_url="http://docker", timeout=30) as engine:
        assert engine.delete(f"/containers/{place.system.run_name(task_id)}", params={"force": "1"}).status_code == 204
    ended = place.client.wait(task_id)
    assert ended["status"]["primary"] == "over"
    assert ended["status"]["exitcode"] == 137
    assert ended["status"]["reason"]


def test_a_task_sees_the_network_only_where_it_asked_for_it(place: Place) -> None:
    sent = place.ground.task("network", "ls /sys/class/net | sort | tr '\\n' ' '")
    container = {"image": "busybox:latest", "volumes": [], "network": True}
    assert "eth0" not in output(place.client.run(sent))
    assert "eth0" in output(place.client.run({**sent, "container": container}))
