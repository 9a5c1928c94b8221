"""
Client of the Web API of GoDocker.

    with Client("http://godocker.lab:8080", user="alice", apikey=…) as client:
        task = client.wait(client.submit("echo hello", image="busybox"))
        print(task.exit_code, client.log(task.id).decode())
"""

from godocker_client.aio import AsyncClient
from godocker_client.client import Client
from godocker_client.following import AttemptEvent, EndEvent, Event, LogEvent
from godocker_client.task import Task

__all__ = ["AsyncClient", "AttemptEvent", "Client", "EndEvent", "Event", "LogEvent", "Task"]
