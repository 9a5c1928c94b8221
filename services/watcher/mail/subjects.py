"""A subject header that decodes to exactly the text it was made from: pure."""

from __future__ import annotations

from email import policy as policies
from email.header import Header
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from typing import Any

_PLAIN_MOST = 60  #: characters of a subject that is sent as it is, in one line


class ExactSubject(UnstructuredHeader):
    """
    A subject that is encoded as a whole (RFC 2047) unless it is a short line of ASCII.

    The library encodes word by word, loses spaces between two encoded words, and decodes text that looks like one.
    """

    name: str  # of the base that the registry adds

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        kwds["parse_tree"] = cls.value_parser("")
        kwds["decoded"] = value

    def fold(self, *, policy: policies.Policy) -> str:
        text = str(self)
        plain = text.isascii() and text.isprintable() and "=?" not in text and len(text) <= _PLAIN_MOST
        if plain and text == text.strip():
            return f"{self.name}: {text}{policy.linesep}"
        # The older of the library's two header classes: it leaves the text as it is.
        encoded = Header(text, "utf-8", header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {encoded}{policy.linesep}"


def _registry() -> HeaderRegistry:
    registry = HeaderRegistry()
    registry.map_to_type("subject", ExactSubject)  # type: ignore[arg-type]  # it adds the base
    return registry


POLICY = policies.default.clone(header_factory=_registry())  #: for messages whose subjects are exact
