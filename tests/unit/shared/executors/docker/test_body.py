"""The body of the create call: golden, with the same keys whatever a user sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.executors import types
from shared.executors.docker import body, observe
from shared.executors.docker.inside import limits, program

GB = 1024**3
RUN = types.Run(
    handle=types.Handle("n1", 12, 3),
    image="debian",
    uid=20001,
    gid=20002,
    groups=(5, 6),
    cpus=1.5,
    memory=2 * 1024**3,
    directory="/opt/godshared/tasks/0/12",
    shebang=True,
    environment={"GREETING": "hello"},
    mounts=(
        types.Mount("home", "/home/ada", "/mnt/home", read_only=False),
        types.Mount("db", "/db", "/db", read_only=True),
    ),
)


def made_of(run: types.Run) -> dict[str, Any]:
    return body.create_body(run, instance="lab", network="bridge", pids_limit=4096)


def bind(source: str, target: str, *, read_only: bool, non_recursive: bool = False) -> dict[str, Any]:
    options = {"Propagation": "rprivate", "NonRecursive": non_recursive}
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only, "BindOptions": options}


def test_the_devices_and_ports_of_a_container_are_read_from_its_inspection() -> None:
    run = replace(
        RUN, gpus=("GPU-8f3c", "/dev/dri/card0"), ports=(types.PortMapping(80, 10001), types.PortMapping(8080, 10002))
    )
    stopped = {"Status": "exited", "ExitCode": 0}
    seen = observe.inspected(RUN.handle, {"State": stopped, "HostConfig": made_of(run)["HostConfig"]})
    assert seen.given == types.Given(run.gpus, run.ports)
    nothing = {"Devices": None, "DeviceRequests": None, "PortBindings": None}
    assert observe.inspected(RUN.handle, {"State": stopped, "HostConfig": nothing}).given == types.Given()


def test_the_body_of_a_run() -> None:
    argv = program.argv(RUN, state="/mnt/god-attempts", output_grace=0, grace=0)
    assert made_of(RUN) == {
        "Image": "debian:latest",
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", argv[2], "god-12-3", "3", "/mnt/god-attempts", "shebang", "1", "0", "0"],
        "WorkingDir": "/mnt/go-docker",
        "Env": [
            "GREETING=hello",
            "GODOCKER_JID=12",
            "GODOCKER_PWD=/mnt/go-docker",
            "GODOCKER_HOME=/mnt/home",
            "HOME=/mnt/home",
            "GODOCKER_RUN=god-12-3",
            "GODOCKER_CPUS=1.5",
            "GODOCKER_MEMORY_MB=2048",
            "NVIDIA_VISIBLE_DEVICES=void",
            "TINI_KILL_PROCESS_GROUP=1",
        ],
        "User": "20001:20002",
        "Hostname": "task-12",
        "StopSignal": "SIGURG",
        "Healthcheck": {"Test": ["NONE"]},
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "OpenStdin": False,
        "Tty": False,
        "Labels": {
            "godocker.instance": "lab",
            "godocker.task": "12",
            "godocker.attempt": "3",
            "godocker.local.data_directory": "/opt/godshared/tasks/0/12",
        },
        "ExposedPorts": {},
        "NetworkingConfig": {"EndpointsConfig": {}},
        "HostConfig": {
            "Mounts": [
                bind("/opt/godshared/tasks/0/12", "/mnt/go-docker", read_only=False),
                bind("/opt/godshared/tasks/0/12/.godocker", "/mnt/god-attempts", read_only=False),
                bind("/home/ada", "/mnt/home", read_only=False),
                bind("/db", "/db", read_only=True),
            ],
            "GroupAdd": ["5", "6"],
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "IpcMode": "private",
            "NetworkMode": "none",
            "PortBindings": {},
            "Devices": [],
            "DeviceRequests": [],
            "Tmpfs": {},
            "Memory": 2147483648,
            "MemorySwap": 2147483648,
            "NanoCpus": 1500000000,
            "PidsLimit": 4096,
            "ShmSize": 2147483648,
            "ExtraHosts": ["task-12:127.0.0.1"],
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": 8192, "Hard": 16384},
                {"Name": "nproc", "Soft": 16384, "Hard": 16384},
            ],
            "Init": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "AutoRemove": False,
        },
    }


def test_a_run_that_asks_for_the_network_gets_the_configured_one_and_nothing_else() -> None:
    plain, connected = made_of(RUN), made_of(replace(RUN, network="public"))
    assert connected["HostConfig"].pop("NetworkMode") == "bridge"
    plain["HostConfig"].pop("NetworkMode")
    # Its name leads to its address in the network, not to itself alone.
    assert plain["HostConfig"].pop("ExtraHosts") == ["task-12:127.0.0.1"]
    assert connected["HostConfig"].pop("ExtraHosts") == []
    assert connected == plain


def test_the_tasks_of_a_user_find_each_other_by_names_that_no_attempt_changes() -> None:
    made = body.create_body(replace(RUN, network="user-ada"), instance="lab", network="lab.user-ada", pids_limit=4096)
    assert made["HostConfig"]["NetworkMode"] == "lab.user-ada"
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"lab.user-ada": {"Aliases": ["task-12"]}}}


def test_ports_are_published_where_they_were_leased_and_named_in_the_environment() -> None:
    ports = (types.PortMapping(80, 10001), types.PortMapping(8080, 10007))
    made = made_of(replace(RUN, network="public", ports=ports))
    assert made["ExposedPorts"] == {"80/tcp": {}, "8080/tcp": {}}
    assert made["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "10001"}],
        "8080/tcp": [{"HostIp": "", "HostPort": "10007"}],
    }
    told = {"GODOCKER_PORTS=10001,10007", "GODOCKER_PORT_80=10001", "GODOCKER_PORT_8080=10007"}
    assert told <= set(made["Env"])


@pytest.mark.parametrize(
    ("gpus", "paths", "names", "visible"),
    [
        (("/dev/fuse",), ["/dev/fuse"], None, "void"),
        (("0", "GPU-8f"), [], ["0", "GPU-8f"], "0,GPU-8f"),
        (("/dev/dri/card0", "1"), ["/dev/dri/card0"], ["1"], "1"),
    ],
)
def test_a_run_gets_the_devices_it_was_given(
    gpus: tuple[str, ...], paths: list[str], names: list[str] | None, visible: str
) -> None:
    made = made_of(replace(RUN, gpus=gpus))
    config = made["HostConfig"]
    assert config["Devices"] == [
        {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rw"} for path in paths
    ]
    wanted = [{"Driver": "nvidia", "DeviceIDs": names, "Capabilities": [["gpu"]]}] if names else []
    assert config["DeviceRequests"] == wanted
    assert {f"GODOCKER_GPUS={','.join(gpus)}", f"NVIDIA_VISIBLE_DEVICES={visible}"} <= set(made["Env"])


def test_root_gets_its_own_files_and_reads_the_rest() -> None:
    made = made_of(replace(RUN, root=True))
    config = made["HostConfig"]
    assert made["User"] == "0:0"
    assert config["CapDrop"] == ["ALL"]
    assert config["CapAdd"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"]
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["GroupAdd"] == []
    assert config["Mounts"] == [
        bind("/opt/godshared/tasks/0/12", "/mnt/go-docker", read_only=False),
        bind("/opt/godshared/tasks/0/12/.godocker", "/mnt/god-attempts", read_only=False),
        bind("/home/ada", "/mnt/home", read_only=True, non_recursive=True),
        bind("/db", "/db", read_only=True, non_recursive=True),
    ]


@given(
    image=st.text(min_size=1),
    environment=st.dictionaries(st.text(min_size=1), st.text()),
    names=st.lists(st.sampled_from(["home", "Privileged", "CapAdd", "PidMode", "host"]), max_size=3, unique=True),
)
def test_nothing_a_user_names_becomes_a_key_or_changes_a_limit(
    image: str, environment: dict[str, str], names: list[str]
) -> None:
    mounts = [types.Mount(name, f"/srv/{name}", f"/data/{name}", read_only=True) for name in names]
    plain, made = made_of(RUN), made_of(replace(RUN, image=image, environment=environment, mounts=mounts))
    assert made.keys() == plain.keys()
    for name in plain.keys() - {"Image", "Env", "HostConfig"}:
        assert made[name] == plain[name]
    made["HostConfig"].pop("Mounts")
    plain["HostConfig"].pop("Mounts")
    assert made["HostConfig"] == plain["HostConfig"]


@given(
    environment=st.dictionaries(
        st.sampled_from(["GODOCKER_RUN", "GODOCKER_PWD", "HOME", "NVIDIA_VISIBLE_DEVICES", "X"]), st.text()
    )
)
def test_a_users_variables_never_stand_for_ours(environment: dict[str, str]) -> None:
    made = made_of(replace(RUN, environment=environment))["Env"]
    assert [line for line in made if line.startswith("GODOCKER_RUN=")] == ["GODOCKER_RUN=god-12-3"]
    assert [line for line in made if line.startswith("GODOCKER_PWD=")] == ["GODOCKER_PWD=/mnt/go-docker"]
    # An image, or a user, that asks for all GPUs gets none.
    assert [line for line in made if line.startswith("NVIDIA_VISIBLE")] == ["NVIDIA_VISIBLE_DEVICES=void"]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("debian", "debian:latest"),
        ("debian:12", "debian:12"),
        ("group/tool", "group/tool:latest"),
        ("registry:5000/group/tool", "registry:5000/group/tool:latest"),
        ("registry:5000/group/tool:1", "registry:5000/group/tool:1"),
        ("tool@sha256:" + "0" * 64, "tool@sha256:" + "0" * 64),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, reference: str) -> None:
    assert body.reference(image) == reference


@pytest.mark.parametrize(
    ("asked", "has", "expected"),
    [
        ((2.5, 4 * GB), None, (2.5, 4 * GB)),
        ((2.5, 4 * GB), limits.Capacity(2, 3 * GB), (2, 3 * GB)),
        ((0.5, GB), limits.Capacity(2, 3 * GB), (0.5, GB)),
        ((0.001, GB), None, (0.01, GB)),
    ],
)
def test_a_container_is_limited_to_what_its_engine_has(
    asked: tuple[float, int], has: limits.Capacity | None, expected: tuple[float, int]
) -> None:
    run = replace(RUN, cpus=asked[0], memory=asked[1])
    config = body.create_body(run, instance="lab", network="bridge", pids_limit=4096, has=has)["HostConfig"]
    assert config["NanoCpus"] == expected[0] * 1e9
    assert config["Memory"] == config["MemorySwap"] == config["ShmSize"] == expected[1]


def test_a_group_that_no_engine_takes_is_left_out() -> None:
    assert made_of(replace(RUN, groups=(5, 2**31, 2**32 - 2)))["HostConfig"]["GroupAdd"] == ["5"]


@pytest.mark.parametrize(
    ("cpus", "memory", "said"),
    [
        (None, None, None),
        (2, 3, None),
        (8, None, "8 cores where the engine has 2"),
        (None, 16, "16 GB of memory where it has 3.0"),
        (8, 16, "8 cores where the engine has 2 and 16 GB of memory where it has 3.0"),
    ],
)
def test_values_configured_beyond_an_engine_s_capacity_are_logged(
    cpus: float | None, memory: float | None, said: str | None
) -> None:
    assert limits.overcommitment(cpus, memory, limits.Capacity(2, 3 * GB)) == said
