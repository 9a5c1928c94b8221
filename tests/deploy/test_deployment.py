"""Tests of the Compose deployment on a server, and of its exposure to others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.use.client import Client
from tests.deploy import deployment
from tests.deploy.conftest import Deployed
from tests.deploy.server import ADDRESS
from tests.support import waiting

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

SERVICES = {
    "api": 1,
    "scheduler": 2,
    "watcher": 2,
    "files": 1,
    "mongo": 1,
    "redis": 1,
    "prometheus": 1,
    "mongo-init": 1,
}
PORTS = {
    "api": 6543,
    "scheduler": 6544,
    "watcher": 6545,
    "files": 6546,
    "mongo": 27017,
    "redis": 6379,
    "prometheus": 9090,
}
#: Where engines, clouds and the services are found on many machines.
OFTEN_OPEN = (22, 2375, 2376, 3000, 5000, 8080, *PORTS.values())
METADATA = "169.254.169.254"
WAIT = 60.0  #: seconds for a task

OF_THE_HOST = {"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"}

#: What root keeps in the containers that handle the files of all users, and nothing else does.
OF_ROOT = ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
WITH_ENGINE = {"scheduler", "watcher"}
WITH_FILES = {*WITH_ENGINE, "files"}


def task(cmd: str, *, network: bool = False) -> dict[str, object]:
    return {
        "meta": {"name": "deployed"},
        "requirements": {"cpu": 0.1, "ram": 0.1},
        "container": {"image": "busybox:latest", "volumes": [], "network": network},
        "command": {"interactive": False, "cmd": f"#!/bin/sh\n{cmd}\n"},
    }


def as_admin(deployed: Deployed, story: Any) -> Any:
    return deployment.as_user(deployed.deployment.server, "admin", deployed.key, story)


def run(client: Client, cmd: str, *, network: bool = False) -> str:
    """Return the content of a task's file `result`, read from another machine."""
    ended = client.run(task(cmd, network=network), timeout=WAIT)
    answer = client.http.get(f"/api/1.0/task/{ended['id']}/files/result")
    assert answer.status_code == 200, (answer.text, ended)
    return answer.text


# --- the operator's day -------------------------------------------------------------


def test_all_services_come_up_and_are_healthy(deployed: Deployed) -> None:
    found = [
        container["Config"]["Labels"]["com.docker.compose.service"] for container in deployed.deployment.containers()
    ]
    assert {name: found.count(name) for name in found} == SERVICES
    assert deployed.deployment.unwell() == {}
    shown = deployed.deployment.compose("ps")
    assert shown.count("Up (healthy)") == sum(SERVICES.values()) - 1, shown


def test_init_run_again_changes_nothing_and_shows_no_key(deployed: Deployed) -> None:
    before = (_on_disk(deployed.deployment.directory), _in_the_engine(deployed))
    said = deployed.deployment.init()
    assert (_on_disk(deployed.deployment.directory), _in_the_engine(deployed)) == before
    assert deployment.first_key(said) is None
    assert "made" not in said
    assert as_admin(deployed, lambda client: client.http.get("/api/1.0/user/admin").status_code) == 200


def test_secrets_are_closed_to_others_and_in_no_environment_and_no_command(deployed: Deployed) -> None:
    secrets = deployed.deployment.directory / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    values = {file.name: file.read_text() for file in secrets.iterdir()}
    assert len(values) == 8
    assert all(len(value) == 64 for value in values.values())
    assert len(set(values.values())) == len(values)
    assert all(file.stat().st_mode & 0o337 == 0 for file in secrets.iterdir())
    for container in deployed.deployment.containers():
        shown = json.dumps(container)
        assert [name for name, value in values.items() if value in shown] == [], container["Name"]


def test_a_task_sent_from_outside_runs_in_a_container_and_its_result_is_read(deployed: Deployed) -> None:
    said = as_admin(deployed, lambda client: run(client, "cat /proc/self/cgroup > result; hostname >> result"))
    assert "docker" in said
    assert deployed.deployment.server.engine.url not in said


def test_a_file_is_put_into_the_personal_storage_and_removed(deployed: Deployed) -> None:
    def story(client: Client) -> None:
        path = "/api/1.0/user/admin/files/some/folder/file"
        assert client.http.put(path, content=b"mine").status_code == 200
        assert client.http.put(path, content=b"mine again").status_code == 200
        assert client.http.get(path).content == b"mine again"
        assert client.http.delete("/api/1.0/user/admin/files/some").status_code == 200
        assert client.http.get(path).status_code == 404

    as_admin(deployed, story)


def test_gateways_share_one_port_and_add_up_what_they_count(deployed: Deployed) -> None:
    with_python = "import os; print(*[p for p in os.listdir('/proc') if p.isdigit()])"
    running = deployed.deployment.execute("api", "python3", "-c", with_python).split()
    asked = "print(open('/proc/%s/cmdline').read().count('--fd'))"
    workers = [pid for pid in running if pid != "1" and _says_one(deployed, asked % pid)]
    assert len(workers) == 2


def test_prometheus_finds_every_process_of_every_service(deployed: Deployed) -> None:
    question = ("wget", "-q", "-O", "-", "http://127.0.0.1:9090/api/v1/targets?state=active")

    def seen() -> dict[str, int]:
        targets = json.loads(deployed.deployment.execute("prometheus", *question))["data"]["activeTargets"]
        jobs = [target["labels"]["job"] for target in targets if target["health"] == "up"]
        return {job: jobs.count(job) for job in sorted(set(jobs))}

    wanted = {"api": 1, "files": 1, "prometheus": 1, "scheduler": 2, "watcher": 2}
    waiting.until_blocking(lambda: seen() == wanted, "all are up for Prometheus", timeout=90, interval=1)


def test_a_standby_schedules_when_the_leader_is_killed(deployed: Deployed) -> None:
    with deployed.deployment.server.engine.client() as client:
        for container in deployed.deployment.containers("scheduler")[:1]:
            client.post(f"/containers/{container['Id']}/kill").raise_for_status()
    assert "alive" in as_admin(deployed, lambda client: run(client, "echo alive > result"))
    deployed.deployment.up()


def test_the_proxy_speaks_tls_for_the_gateway_and_keeps_metrics_inside(deployed: Deployed) -> None:
    def look() -> tuple[int, int, str]:
        # The name is the one that its certificate was made for; whose certificate it is, is nobody's concern here.
        extensions = {"sni_hostname": "localhost"}
        with httpx.Client(base_url=f"https://{ADDRESS}", verify=False, headers={"Host": "localhost"}) as http:
            ping = http.get("/api/1.0/ping", extensions=extensions)
            metrics = http.get("/metrics", extensions=extensions)
            return ping.status_code, metrics.status_code, ping.headers["Strict-Transport-Security"]

    deployed.deployment.compose("--profile", "tls", "up", "-d", "proxy")
    try:
        deployed.deployment.wait_well()
        assert deployed.deployment.server.outside.call(look) == (200, 404, "max-age=31536000")
    finally:
        deployed.deployment.compose("--profile", "tls", "rm", "--stop", "--force", "proxy")


# --- who reaches what (T15) ---------------------------------------------------------


def test_from_outside_only_the_port_of_the_gateway_answers(deployed: Deployed) -> None:
    listening = deployed.deployment.server.run("ss", "-H", "-ltn")
    ports = {line.split()[3].rpartition(":")[2] for line in listening.splitlines()}
    assert ports == {str(deployment.PORT)}, listening
    known = [(ADDRESS, port) for port in OFTEN_OPEN]
    # Whoever knows the addresses of the containers and routes to them by the server.
    known += [(address, port) for _, address, port in _internal(deployed)]
    assert len(known) > len(OFTEN_OPEN) + len(PORTS)
    answering = deployed.deployment.server.outside.call(lambda: asyncio.run(_answering(known)))
    # A published port is open at both its ends.
    (gateway,) = deployed.deployment.containers("api")
    behind = gateway["NetworkSettings"]["Networks"][f"{deployment.PROJECT}_frontend"]["IPAddress"]
    assert answering == {(ADDRESS, deployment.PORT), (behind, deployment.PORT)}


@pytest.mark.parametrize("network", [False, True], ids=["none", "public"])
def test_a_task_reaches_neither_stores_nor_engine_nor_what_is_inside(deployed: Deployed, network: bool) -> None:
    inside = [(address, port) for _, address, port in _internal(deployed)]
    bridges = deployed.deployment.server.run("ip", "-o", "-4", "address").splitlines()
    own = [line.split()[3].partition("/")[0] for line in bridges]
    hosts = [(address, port) for address in own for port in OFTEN_OPEN if address != "127.0.0.1"]
    places = [*inside, *hosts, (METADATA, 80), ("127.0.0.1", 2375)]
    looks = "\n".join(f"look {address} {port} &" for address, port in places)
    script = (
        'look() { nc -w 3 "$1" "$2" < /dev/null > /dev/null 2>&1 && echo "$1:$2" >> found; }\n'
        f": > found\n{looks}\nwait\nls -d /var/run/docker.sock /run/docker.sock /run/secrets >> found 2> /dev/null\n"
        "mv found result"
    )
    found = set(as_admin(deployed, lambda client: run(client, script, network=network)).split())
    # The published port is for everybody: tasks with a network are everybody.
    allowed = {f"{address}:{deployment.PORT}" for address in own} if network else set()
    assert found <= allowed
    assert bool(found) == network, "the look itself sees what is open"


# --- the CIS Docker Benchmark -------------------------------------------------------


def test_a_running_task_keeps_to_the_benchmark(deployed: Deployed) -> None:
    def story(client: Client) -> dict[str, Any]:
        number = client.submit(task("sleep 600"))
        client.wait(number, "running", timeout=WAIT)
        seen = deployed.deployment.task_container(number)
        client.kill(number)
        client.wait(number, timeout=WAIT)
        return seen

    seen = as_admin(deployed, story)
    assert _breaches(seen) == {"5.13 read-only root"}  # it may change its own copy of the image, which goes with it
    assert seen["HostConfig"]["CapAdd"] in (None, [])
    assert seen["Config"]["User"] not in ("", "root", "0", "0:0")
    # Its directory and that of its attempts; read only: the personal storage of its user, and the names of users.
    writable = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]}
    assert writable.pop("/mnt/go-docker")
    assert writable.pop("/mnt/god-attempts")
    assert not any(writable.values())
    assert set(writable) <= {"/mnt/god-data", "/etc/passwd", "/etc/group"}
    assert seen["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_the_services_keep_to_the_benchmark_but_for_the_engine_where_it_is_needed(deployed: Deployed) -> None:
    for container in deployed.deployment.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        expected = {"5.32 engine's socket"} if service in WITH_ENGINE else set()
        # They are started again for ever: a service that is needed is not given up.
        assert _breaches(container) - {"5.15 restarts"} == expected, service
        assert (container["HostConfig"]["CapAdd"] or []) == (OF_ROOT if service in WITH_FILES else []), service
        user = container["Config"]["User"].partition(":")[0]
        assert (user in ("", "0", "root")) == (service in WITH_FILES), service
        assert container["HostConfig"]["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "5"}, service


# --- down and up again --------------------------------------------------------------


def test_down_and_up_again_keeps_everything(deployed: Deployed) -> None:
    def before(client: Client) -> tuple[int, str]:
        answer = client.http.post("/api/1.0/project", json={"id": "kept", "prio": 50, "members": ["admin"]})
        assert answer.status_code == 200, answer.text
        return int(client.run(task("echo kept > result"), timeout=WAIT)["id"]), client.http.headers["Authorization"]

    def after(client: Client) -> None:
        answer = client.http.get(f"/api/1.0/task/{number}/files/result")
        assert answer.text == "kept\n"
        assert client.http.get("/api/1.0/project/kept").status_code == 200
        client.http.headers["Authorization"] = session  # a session outlives it too
        assert client.task(number)["status"]["primary"] == "over"
        assert run(client, "echo again > result") == "again\n"
        assert client.submit(task("true")) > number

    number, session = as_admin(deployed, before)
    deployed.deployment.compose("down")
    assert deployed.deployment.containers() == []
    deployed.deployment.up()
    as_admin(deployed, after)


def _says_one(deployed: Deployed, program: str) -> bool:
    try:
        return deployed.deployment.execute("api", "python3", "-c", program).strip() == "1"
    except AssertionError:
        return False  # it has ended meanwhile


def _on_disk(directory: Path) -> dict[str, tuple[str, int, float]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(file): (file.read_text(), file.stat().st_mode, file.stat().st_mtime) for file in files}


def _in_the_engine(deployed: Deployed) -> dict[str, Any]:
    with deployed.deployment.server.engine.client() as client:
        containers = client.get("/containers/json", params={"all": "1"}).json()
        images = client.get("/images/json").json()
        volumes = client.get("/volumes").json()["Volumes"]
        networks = client.get("/networks").json()
    return {
        "containers": sorted((item["Id"], item["State"]) for item in containers),
        "images": sorted(item["Id"] for item in images),
        "volumes": sorted(item["Name"] for item in volumes),
        "networks": sorted(item["Id"] for item in networks),
    }


def _internal(deployed: Deployed) -> list[tuple[str, str, int]]:
    """Return service, address and port of every internal listener; only the gateway's published port is open."""
    found = deployed.deployment.addresses()
    return [(name, address, PORTS[name]) for name in PORTS for address in found[name]]


async def _answering(places: list[tuple[str, int]]) -> set[tuple[str, int]]:
    async def answers(address: str, port: int) -> bool:
        try:
            async with asyncio.timeout(3):
                _, writer = await asyncio.open_connection(address, port)
        except OSError:
            return False
        writer.close()
        return True

    found = await asyncio.gather(*(answers(*place) for place in places))
    return {place for place, open_ in zip(places, found, strict=True) if open_}


def _breaches(container: Mapping[str, Any]) -> set[str]:
    """Return the violations of section 5 of the CIS Docker Benchmark that are visible from outside a container."""
    host = container["HostConfig"]
    options = host["SecurityOpt"] or []
    binds = [mount for mount in container["Mounts"] if mount["Type"] == "bind"]
    sources = [mount["Source"] for mount in binds]
    rules = {
        "5.2 AppArmor switched off": any("apparmor" in option and "unconfined" in option for option in options),
        "5.4 capabilities": host["CapDrop"] != ["ALL"] or not set(host["CapAdd"] or []) <= set(OF_ROOT),
        "5.5 privileged": host["Privileged"],
        "5.6 directories of the host": any(
            source in ("/", "/etc", "/usr", "/boot", "/dev", "/proc", "/sys") for source in sources
        ),
        "5.10 network of the host": host["NetworkMode"] == "host",
        "5.11 memory": not host["Memory"],
        "5.12 processors": not (host["NanoCpus"] or host["CpuQuota"] or host["CpuShares"]),
        "5.13 read-only root": not host["ReadonlyRootfs"],
        "5.15 restarts": host["RestartPolicy"]["Name"] in ("always", "unless-stopped"),
        "5.16 processes of the host": host["PidMode"] == "host",
        "5.17 IPC of the host": host["IpcMode"] == "host",
        "5.18 devices": bool(host["Devices"]),
        "5.20 shared mounts": any(mount.get("Propagation") in ("shared", "rshared") for mount in binds),
        "5.21 name of the host": host["UTSMode"] == "host",
        "5.22 seccomp switched off": any("seccomp" in option and "unconfined" in option for option in options),
        "5.26 new privileges": not any(option.startswith("no-new-privileges") for option in options),
        "5.29 number of processes": not host["PidsLimit"] or host["PidsLimit"] < 1,
        "5.30 the default bridge": host["NetworkMode"] in ("default", "bridge"),
        "5.31 users of the host": host["UsernsMode"] == "host",
        "5.32 engine's socket": any(source.endswith("docker.sock") for source in sources),
    }
    return {rule for rule, broken in rules.items() if broken}
