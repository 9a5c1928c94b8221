"""Send the mails of the outbox."""

from __future__ import annotations

import asyncio
import uuid

import structlog

from services.watcher.mail import templates
from services.watcher.mail.smtp import DEADLINE, SmtpClient
from shared import clock, errors
from shared.models.notice import Notice
from shared.observe import metrics
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

LEASE = 4 * DEADLINE  #: seconds after which another sender may retry a claimed mail
GIVE_UP = 24 * 3600  #: seconds after the event until which a mail is retried
_SENDERS = 4  #: concurrent mails: one that hangs delays no other
_GRACE = 2.0  #: seconds that a stopping watcher waits for a mail being sent
_FIRST_WAIT = 5.0
_LONGEST_WAIT = 1800.0


class Mailer:
    """
    Claims a mail, sends it, and records that. A mail is sent twice only where the sender dies, or the store goes away, between
    the server's reply and the record: SMTP has no way to ask (RFC 1047).
    """

    def __init__(self, stores: Stores, settings: Settings, *, smtp: SmtpClient | None = None) -> None:
        self._stores = stores
        self._settings = settings
        self._smtp = smtp or SmtpClient(settings)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`."""
        loops: dict[str, lifetime.Loop] = {f"mail-{number}": self._send_all for number in range(_SENDERS)}
        await lifetime.run_loops(loops, stop=stop, grace=_GRACE)

    async def _send_all(self, stop: asyncio.Event) -> None:
        async for _ in lifetime.every(stop, self._settings.poll_seconds):
            try:
                while not stop.is_set() and await self._send_one():
                    pass
            except errors.StoreUnavailable as error:
                log.warning("mail.outbox_unavailable", error=str(error))

    async def _send_one(self) -> bool:
        """Try one mail. Return whether one was due."""
        notice = await self._stores.outbox.claim(uuid.uuid4().hex, seconds=LEASE)
        if notice is None:
            return False
        sender = self._settings.mail_from or ""
        try:
            await self._smtp.send(templates.message(notice, sender=sender), to=notice.to)
        except (errors.MailRefused, ValueError) as error:  # ValueError: it cannot be made into a message
            await self._give_up(notice, str(error))
        except errors.MailUnavailable as error:
            if clock.now() - notice.at > GIVE_UP:
                await self._give_up(notice, str(error))
            else:
                await self._put_off(notice, str(error))
        else:
            # A mail that the server has accepted must be recorded, whatever happens to us now.
            await asyncio.shield(self._stores.outbox.done(notice, "sent"))
            metrics.MAILS.labels(outcome="sent").inc()
            log.info("mail.sent", notice=notice.id, tries=notice.tries)
        return True

    async def _give_up(self, notice: Notice, reason: str) -> None:
        await self._stores.outbox.done(notice, "given up")
        metrics.MAILS.labels(outcome="given_up").inc()
        log.error("mail.given_up", notice=notice.id, tries=notice.tries, reason=reason)

    async def _put_off(self, notice: Notice, reason: str) -> None:
        seconds = wait(notice.tries)
        await self._stores.outbox.put_off(notice, seconds=seconds, reason=reason)
        metrics.MAILS.labels(outcome="put_off").inc()
        log.warning("mail.put_off", notice=notice.id, tries=notice.tries, seconds=seconds, reason=reason)


def wait(tries: int) -> float:
    """Return the seconds before the next attempt after so many tries: doubling, up to half an hour."""
    return float(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries - 1, 20)))
