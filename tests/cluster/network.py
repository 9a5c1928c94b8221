"""The network between the hosts of a cluster: a bridge on this machine and a cable to each host."""

from __future__ import annotations

import ipaddress
import json

from tests.cluster import commands
from tests.cluster.machine import Machine

FIRST_HOST = 11  #: last part of the first host's address
_INTERFACE = "eth0"  #: interface of a host


class Network:
    """Network number `number`: 10.231.`number`.0/24. This machine is .1 in it, the hosts are .11 and so on."""

    def __init__(self, number: int) -> None:
        self.bridge = f"godocker{number}"
        self.subnet = ipaddress.ip_network(f"10.231.{number}.0/24")
        self.gateway = str(self.subnet[1])

    def address(self, position: int) -> str:
        """Return the address of the host at `position`, from 0."""
        return str(self.subnet[FIRST_HOST + position])

    def card(self, position: int) -> str:
        """Return the hardware address of the host's interface."""
        return "02:42:" + ":".join(f"{part:02x}" for part in self.subnet[FIRST_HOST + position].packed)

    def cable(self, position: int) -> str:
        """Return this machine's end of the host's cable."""
        return f"{self.bridge}-{position + 1}"

    def is_free(self) -> bool:
        """Return whether this machine has no other route to these addresses."""
        routes = json.loads(commands.run("ip", "-json", "-4", "route", "show") or "[]")
        return not any(self._overlaps(route) for route in routes)

    def build(self) -> None:
        commands.run("ip", "link", "add", self.bridge, "type", "bridge")
        commands.run("ip", "address", "add", f"{self.gateway}/{self.subnet.prefixlen}", "dev", self.bridge)
        commands.run("ip", "link", "set", self.bridge, "up")
        # Rules of a Docker on this machine would separate the hosts.
        commands.run("iptables", "--wait", "--insert", *self._rule)

    def plug_in(self, machine: Machine, position: int) -> None:
        """Give a machine that was just switched on its interface and address."""
        cable = self.cable(position)
        # The interface of a machine that was just switched off may still exist.
        commands.attempt("ip", "link", "delete", cable)
        # The same card each time: neighbours keep sending to the one they know.
        peer = ("name", _INTERFACE, "address", self.card(position), "netns", str(machine.pid))
        commands.run("ip", "link", "add", cable, "type", "veth", "peer", *peer)
        commands.run("ip", "link", "set", cable, "master", self.bridge, "up")
        inside = machine.inside(network_alone=True)
        address = f"{self.address(position)}/{self.subnet.prefixlen}"
        commands.run("ip", "address", "add", address, "dev", _INTERFACE, inside=inside)
        for interface in ("lo", _INTERFACE):
            commands.run("ip", "link", "set", interface, "up", inside=inside)
        commands.run("ip", "route", "add", "default", "via", self.gateway, inside=inside)

    def cut(self, position: int) -> None:
        """Disconnect the host: packets are lost in both directions, connections stay open and hang."""
        commands.run("ip", "link", "set", self.cable(position), "down")

    def heal(self, position: int) -> None:
        commands.run("ip", "link", "set", self.cable(position), "up")

    def mute(self, machine: Machine) -> None:
        """Drop everything the host sends, until `unmute` or the end of the machine."""
        commands.run("iptables", "--wait", "--insert", *_MUTE, inside=machine.inside(network_alone=True))

    def unmute(self, machine: Machine) -> None:
        """Undo `mute`, however often it was applied."""
        inside = machine.inside(network_alone=True)
        while commands.attempt("iptables", "--wait", "--delete", *_MUTE, inside=inside).returncode == 0:
            pass

    def remove(self) -> None:
        """Remove existing bridge, cables and rule."""
        for name in self._interfaces():
            # A cable disappears by itself, a moment after its host.
            commands.attempt("ip", "link", "delete", name)
        while commands.attempt("iptables", "--wait", "--delete", *self._rule).returncode == 0:
            pass
        if left := self.traces():
            raise commands.ClusterError(f"cannot be taken away: {', '.join(left)}")

    def traces(self) -> list[str]:
        """Return what exists of it: interfaces and the rule."""
        ruled = commands.attempt("iptables", "--wait", "--check", *self._rule).returncode == 0
        return self._interfaces() + (["the rule for " + self.bridge] if ruled else [])

    def _interfaces(self) -> list[str]:
        links = json.loads(commands.run("ip", "-json", "link", "show") or "[]")
        names = (link.get("ifname", "") for link in links)
        return sorted(name for name in names if name == self.bridge or name.startswith(f"{self.bridge}-"))

    @property
    def _rule(self) -> tuple[str, ...]:
        return ("FORWARD", "-i", self.bridge, "-o", self.bridge, "-j", "ACCEPT")

    def _overlaps(self, route: dict[str, str]) -> bool:
        if route["dst"] == "default" or route.get("dev") == self.bridge:
            return False
        return self.subnet.overlaps(ipaddress.ip_network(route["dst"], strict=False))


_MUTE = ("OUTPUT", "-o", _INTERFACE, "-j", "DROP")
