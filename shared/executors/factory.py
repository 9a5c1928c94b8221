"""The configured executor and its features."""

from __future__ import annotations

from shared import settings
from shared.executors import base, types


def build(config: settings.Settings, owner: types.Owner | None = None) -> base.Executor:
    """
    Build the configured executor for the runs of `owner` (None: of the configured instance). It connects to nothing yet and may
    be built outside an event loop.

    Raises `errors.ConfigurationError`.
    """
    # Imported here: a machine that runs processes needs no Docker client, and vice versa.
    if config.executor == "docker":
        from shared.executors.docker import executor as docker

        return docker.DockerExecutor(config, owner)
    if config.executor == "process":
        from shared.executors.process import executor as process

        return process.ProcessExecutor(config, owner)
    from shared.executors import simulated

    return simulated.SimulatedExecutor(config, owner)


def features(config: settings.Settings) -> frozenset[types.Feature]:
    """Return the features of the configured executor. Raises `errors.ConfigurationError`."""
    return build(config).features()
