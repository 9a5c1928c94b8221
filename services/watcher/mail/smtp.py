"""Send a mail to the configured SMTP server, within a deadline."""

from __future__ import annotations

import asyncio
import ssl
from email.message import EmailMessage

import aiosmtplib

from shared import errors
from shared.settings import Settings

DEADLINE = 30.0  #: seconds for one mail, from the connection to the server's final reply
_PERMANENT = 500  #: reply codes from here on are permanent failures (RFC 5321, 4.2.1)


class SmtpClient:
    """Opens one connection per mail: mails are few, and servers close idle connections."""

    def __init__(self, settings: Settings, *, deadline: float = DEADLINE) -> None:
        self._settings = settings
        self._deadline = deadline
        self._tls = ssl.create_default_context(cafile=settings.smtp_ca)

    async def send(self, message: EmailMessage, *, to: str) -> None:
        """
        Send one mail. Raises `errors.MailRefused` where the server will never accept it, `errors.MailUnavailable` where it may
        later; in the latter case it may have been accepted.
        """
        settings = self._settings
        try:
            # A deadline over everything: a server that sends a byte a second never hits a read timeout.
            async with asyncio.timeout(self._deadline):
                await aiosmtplib.send(
                    message,
                    sender=settings.mail_from,
                    recipients=[to],
                    hostname=settings.smtp_host,
                    port=settings.smtp_port,
                    username=settings.smtp_user,
                    password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
                    use_tls=settings.smtp_tls == "ssl",
                    start_tls=settings.smtp_tls == "starttls",
                    tls_context=self._tls,
                    timeout=self._deadline,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise _refused(min(codes, default=_PERMANENT), "the address was refused") from None
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            raise _refused(error.code, error.message) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise errors.MailUnavailable(f"{type(error).__name__}: {error}"[:300]) from None


def _refused(code: int, message: str) -> errors.GoDockerError:
    kind = errors.MailRefused if code >= _PERMANENT else errors.MailUnavailable
    return kind(f"{code} {message}"[:300])
