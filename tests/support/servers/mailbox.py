"""A real SMTP server that stores mails, and one that only listens."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from godocker.local import ports
from tests.support.servers import certificates


class Mailbox:
    """An SMTP server in a separate thread. `answer` is its response to a recipient, None to accept everything."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answer: str | None = None
        self.envelopes: list[Envelope] = []
        self._controller: Controller | None = None

    def start(self, **options: Any) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    @property
    def letters(self) -> list[EmailMessage]:
        """Return the received mails, oldest first."""
        read = [message_from_bytes(envelope.content, policy=policy.default) for envelope in self.envelopes]
        return [letter for letter in read if isinstance(letter, EmailMessage)]

    @property
    def subjects(self) -> list[str]:
        return sorted(str(letter["Subject"]) for letter in self.letters)

    def settings(self) -> dict[str, Any]:
        """Return settings of a system that sends here."""
        return {
            "smtp_host": "127.0.0.1",
            "smtp_port": self.port,
            "smtp_tls": "none",
            "mail_from": "godocker@lab.test",
        }

    # --- what the server calls ------------------------------------------------------------

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.answer is not None:
            return self.answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 taken"


@pytest.fixture
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    """Run an SMTP server."""
    reserved = ports.reserve(tmp_path_factory.mktemp("mail") / "ports.json", ["smtp"])
    box = Mailbox(reserved["smtp"])
    box.start()
    yield box
    box.stop()


@contextmanager
def silent_server() -> Iterator[int]:
    """Return the port of a server that accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield int(listening.getsockname()[1])


@contextmanager
def guarded_server(folder: Path, *, user: str, secret: str) -> Iterator[Mailbox]:
    """Run a server that requires StartTLS and a login, with a certificate of the authority `folder`/ca.pem."""
    certificates.make(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server/cert.pem", folder / "server/key.pem")

    def check(_: SMTP, __: Session, ___: Envelope, ____: str, given: Any) -> AuthResult:
        fits = (given.login, given.password) == (user.encode(), secret.encode())
        return AuthResult(success=fits, handled=False)

    box = Mailbox(ports.reserve(folder / "ports.json", ["smtp"])["smtp"])
    box.start(tls_context=context, require_starttls=True, auth_required=True, authenticator=check)
    try:
        yield box
    finally:
        box.stop()
