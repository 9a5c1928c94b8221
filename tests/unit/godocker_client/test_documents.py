"""Task objects from the words of the command line, of task files and of scripts."""

from __future__ import annotations

from typing import Any

import pytest

from godocker_client import directives, documents
from godocker_client.errors import InvalidTask


def test_words_stand_where_the_web_api_has_them() -> None:
    assert documents.build(
        image="busybox",
        command="true",
        name="n",
        cpu=2,
        ram=0.5,
        array="1:3",
        afterok=[4],
        volumes=["data", "out:rw"],
        hold=True,
    ) == {
        "meta": {"name": "n"},
        "container": {"image": "busybox", "volumes": [{"name": "data", "acl": "ro"}, {"name": "out", "acl": "rw"}]},
        "requirements": {"cpu": 2, "ram": 0.5, "array": {"values": "1:3"}, "depends": {"afterok": [4]}},
        "command": {"cmd": "true", "interactive": False},
        "status": {"primary": "created"},
    }


def test_what_is_not_said_is_not_sent() -> None:
    assert documents.build(image="i", command="c", cpu=None, tags=None, hold=None) == {
        "container": {"image": "i"},
        "command": {"cmd": "c", "interactive": False},
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"command": "c"}, "image: is missing"),
        ({"image": "i"}, "command: is missing"),
        ({"image": "i", "command": "c", "imgae": 1}, "imgae: is not a word of a task; did you mean image?"),
        ({"image": "i", "command": "c", "volumes": ["a:x"]}, "volumes: a:x must be NAME, NAME:ro or NAME:rw"),
    ],
)
def test_a_wrong_word_is_named(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidTask, match=said.replace("?", r"\?")):
        documents.build(**words)


def test_a_task_file_holds_words_or_a_whole_task_object_and_options_stand_above_it() -> None:
    assert documents.from_file({"image": "a", "command": "c", "cpu": 1}, cpu=4)["requirements"] == {"cpu": 4}
    whole = {
        "id": 7,
        "container": {"image": "a"},
        "command": {"cmd": "c"},
        "requirements": {"cpu": 1},
        "status": {"primary": "over"},
    }
    sent = documents.from_file(whole, image="b")
    assert sent["container"] == {"image": "b"}
    assert "id" not in sent
    with pytest.raises(InvalidTask, match="a task file holds one task"):
        documents.from_file(["a"])


def test_lines_of_a_script_are_options_up_to_its_first_command() -> None:
    script = "#!/bin/sh\n#GODOCKER --cpu 4\n\n# a remark\n#GODOCKER --name 'two words' # why\necho\n#GODOCKER --ram 9\n"
    assert directives.options_of(script) == ["--cpu", "4", "--name", "two words"]
    assert directives.options_of("#GODOCKERS --cpu 4\n") == []
    with pytest.raises(InvalidTask, match="line 2 of the script"):
        directives.options_of("#!/bin/sh\n#GODOCKER --name 'open\n")
