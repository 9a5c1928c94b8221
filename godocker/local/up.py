"""The whole system on this machine, run until a stop is requested."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import structlog

from godocker.admin import accounts
from godocker.checks import stores as store_checks
from godocker.local import (
    announcements,
    child_process,
    environment,
    gateway_workers,
    leftovers,
    open_files,
    preflight,
    readiness,
    signals,
    supervisor,
)
from godocker.local.data_directory import DataDirectory
from godocker.local.embedded import servers
from shared import clock, errors
from shared import settings as settings_module
from shared.config import loading
from shared.settings import Settings
from shared.store import stores
from shared.system import startup

log = structlog.get_logger(__name__)

START_TIMEOUT = 60.0  #: seconds until all services must answer
_HOPELESS = 3  #: deaths of a service during the start after which the start fails
_POLL = 0.1


def run(options: environment.Options) -> None:
    """Start the system, keep it running, and stop it. Raises `errors.ConfigurationError` if it cannot start."""
    directory = DataDirectory(options.data_dir)
    with directory.held(), signals.caught() as requests:
        leftovers.end(directory.run, directory.path)
        system = _System(options, directory, requests)
        try:
            system.start()
            system.watch()
        except signals.Stopped:
            log.info("up.stopped_while_starting")
        finally:
            system.stop()


class _System:
    """All processes of one `up`."""

    def __init__(self, options: environment.Options, directory: DataDirectory, requests: signals.Signals) -> None:
        self._options = options
        self._directory = directory
        self._requests = requests
        self._supervisor = supervisor.Supervisor()
        self._listening: socket.socket | None = None
        self._started: Settings | None = None

    def start(self) -> None:
        given = loading.load(self._options.config)
        executor = environment.choose_executor(self._options.executor, given, os.environ)
        host = self._options.host or given.host
        environment.check_public(executor.name, host, given)
        preflight.check(given, executor)
        os.environ.update(environment.decide(self._options, given, self._directory, executor))
        self._listen(host, given.port if self._options.port is None else self._options.port)
        settings_module.check_secrets(loading.load())
        _print_warnings(executor)
        open_files.raise_open_files()

        self._start_stores(given)
        settings = loading.load()
        settings.shared_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._directory.store_environment(os.environ)
        asyncio.run(_check_own(settings))
        self._start_services()
        if apikey := asyncio.run(accounts.add_first(settings)):
            announcements.print_first_user(apikey)
        self._wait_ready(settings)
        self._started = settings
        for finding in asyncio.run(store_checks.faults(settings)):
            print(f"Warning: {finding}", file=sys.stderr, flush=True)
        announcements.print_ready(settings, self._directory.path)
        if not apikey:
            announcements.print_known_user(self._directory.path)

    def watch(self) -> None:
        """Restart dead processes and pass on reload requests, until a stop is requested."""
        self._supervisor.keep(
            self._requests, reload=[*gateway_workers.names(self._options.workers), *environment.SERVICES]
        )

    def stop(self) -> None:
        # Refuse new connections at once, rather than leave them in an unserved backlog.
        if self._listening is not None:
            self._listening.close()
        if self._started is not None:
            announcements.print_left(self._started, self._directory.path)
        order = [
            [*gateway_workers.names(self._options.workers), "files"],
            ["scheduler"],
            ["watcher"],
            [servers.REDIS, servers.MONGOD],
        ]
        self._supervisor.stop(order, grace=gateway_workers.STOP_GRACE, requests=self._requests)

    def _listen(self, host: str, port: int) -> None:
        """Open the gateway's socket in this process, so that connections wait while a worker restarts."""
        self._listening = gateway_workers.listen(host, port)
        os.environ["GODOCKER_HOST"] = host
        os.environ["GODOCKER_PORT"] = str(self._listening.getsockname()[1])

    def _start_stores(self, given: Settings) -> None:
        configured, path = given.model_fields_set, self._directory.path
        password = self._directory.secret("store_password")
        started = []
        if "mongo_url" not in configured:
            started.append(servers.mongod(path, password=password))
            os.environ["GODOCKER_MONGO_URL"] = servers.mongo_url(path, password=password)
        if not {"redis_host", "redis_socket"} & configured:
            server = servers.redis_server(path, password=password)
            started.append(server)
            os.environ["GODOCKER_REDIS_SOCKET"] = str(server.socket)
            os.environ["GODOCKER_REDIS_PASSWORD"] = password
        for server in started:
            self._supervisor.start(server.child)
        servers.wait_ready(started, timeout=START_TIMEOUT, pause=self._requests.pause)

    def _start_services(self) -> None:
        assert self._listening is not None
        descriptor = self._listening.fileno()
        multiprocess = gateway_workers.shared_metrics(self._directory.run, self._options.workers)
        for name in gateway_workers.names(self._options.workers):
            self._start_service(name, ["api", "--fd", str(descriptor)], (descriptor,), multiprocess)
        for name in environment.SERVICES:
            self._start_service(name, [name])

    def _start_service(
        self, name: str, arguments: list[str], fds: tuple[int, ...] = (), extra: dict[str, str] | None = None
    ) -> None:
        program = child_process.Program(
            name=name,
            # -P: a folder called `shared` in the working directory is not our package.
            argv=[sys.executable, "-P", "-m", "godocker", *arguments],
            log=self._directory.log / f"{name}.log",
            pid_file=self._directory.run / f"{name}.pid",
            environment={**os.environ, **(extra or {})},
            pass_fds=fds,
            reloads=True,
        )
        self._supervisor.start(child_process.Child(program))

    def _wait_ready(self, settings: Settings) -> None:
        services = readiness.health_urls(settings)
        deadline = clock.monotonic() + START_TIMEOUT
        while missing := readiness.unready(services):
            self._supervisor.restart_due(clock.monotonic())
            hopeless = [name for name in missing if self._supervisor.deaths(name) >= _HOPELESS]
            if hopeless or clock.monotonic() > deadline:
                name = (hopeless or list(missing))[0]
                raise errors.ConfigurationError(
                    f"{name} did not start: {missing[name]}\n{_end_of(self._directory.log / f'{name}.log')}"
                )
            self._requests.pause(_POLL)


async def _check_own(settings: Settings) -> None:
    """Run the services' startup checks once, so that `up` reports their errors."""
    async with stores.connect(settings) as opened:
        await startup.take(settings, opened)


def _print_warnings(executor: environment.Executor) -> None:
    log.info("up.executor", executor=executor.name)
    if executor.warning:
        print(executor.warning, file=sys.stderr, flush=True)
    shared = Path(os.environ["GODOCKER_SHARED_DIR"]) if "GODOCKER_SHARED_DIR" in os.environ else None
    if executor.name == "process" and shared and (closed := environment.closed_parents(shared)):
        print(
            f"Tasks of other users cannot open their directories below {shared} by full path, because "
            f"{closed[0]} is closed to them. Choose another --data-dir, or run chmod o+x on it.",
            file=sys.stderr,
            flush=True,
        )


def _end_of(log_file: Path) -> str:
    text = child_process.tail(log_file)
    return f"The end of {log_file}:\n{text}" if text else f"{log_file} is empty"
