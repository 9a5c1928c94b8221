"""Tests of arrays and dependencies, also with a scheduler killed while it creates children."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pymongo
import pytest

from tests.acceptance.conftest import Ground, Place, _ground, folder
from tests.acceptance.use import client as clients
from tests.conftest import FIGURES
from tests.support import history, waiting

CHILDREN = 240
KILLS = 4

_NAMES = ("ID", "FIRST", "LAST", "STEP")
_TOLD = "echo " + " ".join(f"$GODOCKER_TASK_{name} $GOGOCKER_TASK_{name}" for name in _NAMES) + " $GODOCKER_JID\n"


@pytest.fixture
def processes(request: pytest.FixtureRequest) -> Iterator[Ground]:
    request.param = "process"
    with folder() as path:
        yield _ground(request, path)


def test_an_array_of_twenty(place: Place) -> None:
    client = place.client
    parent = client.submit(place.ground.task("twenty", _TOLD, array={"values": "5:62:3"}, cpu=0.5))
    shown = client.wait(parent, timeout=120)
    assert (shown["status"]["exitcode"], shown["status"]["reason"]) == (0, None)
    array = shown["requirements"]["array"]
    assert (array["nb_tasks"], array["nb_tasks_over"], len(array["tasks"])) == (20, 20, 20)
    for index, child_id in zip(range(5, 63, 3), array["tasks"], strict=True):
        child = client.task(child_id)
        assert (child["parent_task_id"], child["requirements"]["array"]["task_id"]) == (parent, index)
        assert clients.directory(child).name == str(index)
        assert clients.directory(child).parent.name == str(parent)
        answer = client.http.get(f"/api/1.0/task/{child_id}/files/god.log")
        assert answer.text == f"{index} {index} 5 5 62 62 3 3 {child_id}\n"
    # What the children left is also below the parent's directory, which is listed as any other.
    listed = client.http.get(f"/api/1.0/task/{parent}/files/").json()
    assert sorted(int(entry["name"]) for entry in listed) == list(range(5, 63, 3))
    again = client.http.get(f"/api/1.0/task/{parent}/files/8/god.log")
    assert again.text == f"8 8 5 5 62 62 3 3 {array['tasks'][1]}\n"


def test_no_more_children_run_at_a_time_than_are_to_and_a_kill_ends_all(place: Place) -> None:
    client, witness = place.client, place.ground.witness
    before = len(witness.lines())
    limited = {"values": 9, "max_concurrent": 3}
    parent = client.submit(place.ground.task("three", witness.script(gate="three"), array=limited, cpu=0.5))
    waiting.until_blocking(lambda: len(witness.lines()) - before == 3, "as many have begun as may", timeout=60)
    witness.open("three")
    assert client.wait(parent, timeout=120)["status"]["exitcode"] == 0
    running = most = 0
    for _, _, what in witness.lines()[before:]:
        running += 1 if what == "start" else -1
        most = max(most, running)
    assert (running, most) == (0, 3)

    started = witness.count("start")
    doomed = client.submit(place.ground.task("doomed", witness.script(seconds=600), array={"values": 200}, cpu=1))
    waiting.until_blocking(lambda: witness.count("start") >= started + 3, "some run", timeout=60)
    assert client.kill(doomed)["status"]["secondary"] in ("kill requested", "killed")
    status = client.wait(doomed, timeout=120)["status"]
    assert (status["secondary"], status["exitcode"]) == ("killed", 137)
    for child_id in (doomed + 1, doomed + 200):
        assert client.status(child_id)["exitcode"] == 137
    waiting.until_blocking(lambda: place.ground.runs(place.system) == [], "nothing is left behind", timeout=60)


def test_a_chain_of_dependencies(place: Place) -> None:
    client, ground = place.client, place.ground
    gate = ground.witness.script(gate="chain", exit_code=3)
    first = client.submit(ground.task("first", gate))
    fine = client.submit(ground.task("not ok", "echo after $GODOCKER_JID", depends={"afternotok": [first]}))
    vain = client.submit(ground.task("ok", "exit 0", depends={"afterok": [first]}))
    last = client.submit(ground.task("last", "exit 0", tasks=[str(fine), str(vain)]))
    assert client.status(last)["reason"] == f"waits for tasks {fine}, {vain} to be over"
    ground.witness.open("chain")
    assert client.wait(last, timeout=60)["status"]["exitcode"] == 0
    assert client.status(fine)["exitcode"] == 0
    ended = client.status(vain)
    assert (ended["primary"], ended["reason"]) == ("over", f"task {first} ended with exit code 3; it had to end with 0")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_scheduler_that_is_killed_again_and_again_makes_every_child_once(
    processes: Ground, record_property: Callable[[str, object], None]
) -> None:
    with processes.system() as system, system.client(system.token()) as http:
        client = clients.Client(http)
        task = processes.task("many", processes.witness.script(), array={"values": CHILDREN}, cpu=0.5)
        began = time.monotonic()
        parent = client.submit(task)
        for number in range(1, KILLS + 1):
            reached = CHILDREN * number // (KILLS + 2)
            waiting.until_blocking(
                lambda reached=reached: processes.witness.count("start") >= reached, f"{reached} started", timeout=90
            )
            system.kill("scheduler", signal.SIGKILL)
        client.wait(parent, timeout=120)
        settings = system.settings()
        waiting.until_blocking(lambda: history.unsettled(settings) == 0, "every end is settled", timeout=60)
        ids = [parent, *range(parent + 1, parent + CHILDREN + 1)]
        figures = history.check(settings, processes.witness, acknowledged=ids, exit_codes={"many": 0})
        with pymongo.MongoClient(settings.mongo_url) as stores:
            children = stores[settings.mongo_db]["tasks"].find({"member.parent": parent}).sort("_id", 1)
            assert [child["member"]["index"] for child in children] == list(range(1, CHILDREN + 1))
    record_property(FIGURES, f"{figures}; {KILLS} kills of the scheduler; {time.monotonic() - began:.0f} s")
