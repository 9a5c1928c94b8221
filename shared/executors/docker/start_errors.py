"""Translate an engine's refusal to start something into our errors."""

from __future__ import annotations

import re

from shared import errors
from shared.executors import types
from shared.executors.docker import client
from shared.rules import installation_errors

#: Words in an engine's own errors that mean a sick engine, not a wrong run.
_NODE_TROUBLE = (
    *("connection error", "connection refused", "transport is closing", "error while dialing"),
    *("context deadline exceeded", "context canceled", "shutting down"),
)
#: Messages about taken ports: the engine's allocator's about its own, the kernel's about others'.
_PORT_TAKEN = ("port is already allocated", "address already in use")
_NO_ADDRESSES = ("non-overlapping ipv4 address pool", "no available ipv4 addresses", "all predefined address pools")
_PORT = re.compile(r":(\d{1,5})\b")


def start(node: str, run: types.Run, status: int, message: str) -> errors.GoDockerError:
    """Return the error of a container that could not be created or started."""
    text = client.words(message)
    lower = message.lower()
    if status >= 500 and any(word in lower for word in _NODE_TROUBLE):
        return errors.NodeUnavailable(node, text)
    if any(word in lower for word in _PORT_TAKEN) and run.ports:
        return _port_taken(node, run, text)
    trouble = installation_errors.named_in(message)
    # Other tasks are kept from the node only where they would certainly fail as well.
    of_all = trouble if run.tmpstorage is None and not any(one.source in text for one in run.mounts) else None
    if "no space left" in lower or any(word in lower for word in _NO_ADDRESSES):
        return errors.NodeFull(f"{node} is full: {text}", trouble=of_all)
    if trouble is not None:
        return errors.NodeUnwell(f"{node} cannot start it: {text}", trouble=of_all)
    if "no such image" in lower or "invalid reference" in lower:
        return errors.ImageNotFound(f"{run.image}: {text}")
    if '"/bin/sh"' in lower and "no such file" in lower:
        return errors.StartRefused(f"the image {run.image} has no /bin/sh, which its tasks are started with")
    if "bind source path does not exist" in lower and text.rpartition(": ")[2] == run.directory:
        return errors.NodeUnwell(f"{node} does not see the shared directory: {text}", trouble="no shared directory")
    if "bind source path does not exist" in lower:
        return errors.StartRefused(f"a directory to mount does not exist on the node: {text.rpartition(': ')[2]}")
    if "device" in lower and run.gpus:
        return errors.StartRefused(f"{node} does not have the devices {', '.join(run.gpus)}: {text}")
    return errors.StartRefused(text)


def network(node: str, name: str, status: int, message: str) -> errors.GoDockerError:
    """Return the error of a network that could not be created."""
    text = client.words(message)
    lower = message.lower()
    if status >= 500 and any(word in lower for word in _NODE_TROUBLE):
        return errors.NodeUnavailable(node, text)
    if any(word in lower for word in _NO_ADDRESSES):
        return errors.NodeFull(
            f"{node} has no addresses left for the network {name}: its engine's address pools are used up"
        )
    return errors.StartRefused(f"the network {name} could not be made on {node}: {text}")


def is_missing_network(message: str) -> bool:
    lower = message.lower()
    return "network" in lower and ("not found" in lower or "unknown network" in lower)


def is_same_bridge(message: str) -> bool:
    return "same bridge name" in message.lower()


def _port_taken(node: str, run: types.Run, text: str) -> errors.PortTaken:
    named = {int(port) for port in _PORT.findall(text)}
    port = next((mapping.host for mapping in run.ports if mapping.host in named), None)
    which = f"port {port}" if port else "one of the ports " + ", ".join(str(mapping.host) for mapping in run.ports)
    return errors.PortTaken(f"{which} of {node} is in use there", port=port)
