"""An LDAP directory: find a person and check a password. Blocking: call it in a thread."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ldap3
import structlog
from ldap3.core import exceptions, results
from ldap3.utils import conv, dn

from shared import errors
from shared.settings import Settings

log = structlog.get_logger(__name__)

_SEVERAL = 2  #: entries, enough to see that a login is ambiguous
_MOST_GROUPS = 1000

#: Results of a bind that concern the directory, not the person (RFC 4511, A.2).
_NOT_NOW = frozenset({results.RESULT_BUSY, results.RESULT_UNAVAILABLE, results.RESULT_OTHER})

#: Errors of the driver and of the network below it.
_FAILURES = (exceptions.LDAPExceptionError, exceptions.LDAPMaximumRetriesError, OSError)

Entry = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Person:
    """
    A person who gave the right password, as the directory describes them. None: missing or unusable. `entry` is the login
    as the directory spells it, `login` the name derived from it here: directories compare names without case.
    """

    login: str
    entry: str
    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    home: str | None
    mail: str | None
    admin: bool


class Directory:
    """Finds a person's entry, binds as it, and reads their groups, over one connection per login."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fields = settings.ldap_fields
        self._tls = _Tls(ca_certs_file=str(settings.ldap_ca) if settings.ldap_ca else None)
        below = settings.ldap_base_dn_filter
        self._people = f"{below},{settings.ldap_dn}" if below else settings.ldap_dn

    def person(self, login: str, password: str) -> Person | None:
        """
        Return the person called `login`, or None if there is none or `password` is wrong: both send the same requests.
        Raises `errors.DirectoryUnavailable`.
        """
        # An empty password would be an unauthenticated bind, which succeeds for anybody (RFC 4513, 5.1.2).
        word = _bytes(password)
        if not login or not word:
            return None
        with self._connection() as connection:
            self._bind_as_reader(connection)
            found = self._entry(connection, login)
            # Without an entry, bind with a made-up name, so that both cases take the same requests.
            name = found[0] if found else f"{self._fields.login}={dn.escape_rdn(login)},{self._people}"
            fits = self._fits(connection, name, word)
            if found is None or not fits:
                return None
            self._bind_as_reader(connection)
            entry = _spelling(found[1], self._fields.login, login)
            return self._described(entry, found[1], self._groups(connection, {entry, entry.lower(), login}))

    # --- the questions ------------------------------------------------------------------

    @contextmanager
    def _connection(self) -> Iterator[ldap3.Connection]:
        settings = self._settings
        server = ldap3.Server(
            settings.ldap_host or "",
            port=settings.ldap_port,
            use_ssl=settings.ldap_tls == "ldaps",
            tls=self._tls,
            get_info=ldap3.NONE,
            connect_timeout=settings.ldap_timeout,
        )
        # Referrals are not followed: they would send the password to a host that nobody configured.
        connection = ldap3.Connection(
            server,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=math.ceil(settings.ldap_timeout),
        )
        try:
            connection.open(read_server_info=False)
            if settings.ldap_tls == "starttls" and not connection.start_tls(read_server_info=False):
                raise errors.DirectoryUnavailable("the directory does not start TLS")
            yield connection
        except _FAILURES as error:
            log.warning("ldap.failed", error=f"{type(error).__name__}: {error}")
            raise errors.DirectoryUnavailable("the directory of users does not answer") from None
        finally:
            connection.strategy.close()
            if connection.socket is not None:  # the driver keeps one that could not connect
                connection.socket.close()

    def _bind_as_reader(self, connection: ldap3.Connection) -> None:
        """Bind as the configured account for searches, or anonymously."""
        name, password = self._settings.ldap_admin_dn, self._settings.ldap_admin_password
        if name is None or password is None:
            done = connection.rebind(user="", password="", authentication=ldap3.ANONYMOUS, read_server_info=False)
        else:
            done = connection.rebind(
                user=name,
                password=password.get_secret_value().encode(),
                authentication=ldap3.SIMPLE,
                read_server_info=False,
            )
        if not done:
            log.error("ldap.reader_refused", dn=name, result=connection.result["description"])
            raise errors.DirectoryUnavailable("the directory of users refuses searches")

    def _entry(self, connection: ldap3.Connection, login: str) -> tuple[str, Entry] | None:
        """Return name and attributes of the person; None if there is nobody or more than one."""
        fields = self._fields
        query = f"(&{self._settings.ldap_filter}({fields.login}={conv.escape_filter_chars(login)}))"
        names = [fields.login, fields.uid, fields.gid, fields.home, fields.mail]
        found = self._search(connection, self._people, query, names, limit=_SEVERAL)
        if len(found) > 1:
            log.warning("ldap.ambiguous", login=login)
        return found[0] if len(found) == 1 else None

    def _fits(self, connection: ldap3.Connection, name: str, password: bytes) -> bool:
        if connection.rebind(user=name, password=password, authentication=ldap3.SIMPLE, read_server_info=False):
            return True
        if connection.result["result"] in _NOT_NOW:
            raise errors.DirectoryUnavailable("the directory of users is busy")
        return False

    def _groups(self, connection: ldap3.Connection, spellings: set[str]) -> list[tuple[str, int]]:
        """
        Return name and number of the groups that list the person by one of the spellings of their login. `memberUid` holds
        logins and is compared by case, unlike the login itself (RFC 2307).
        """
        named = "".join(f"(memberUid={conv.escape_filter_chars(login)})" for login in sorted(spellings))
        query = f"(&{self._settings.ldap_group_filter}(|{named}))"
        found = self._search(connection, self._settings.ldap_dn, query, ["cn", "gidNumber"], limit=_MOST_GROUPS)
        numbered = ((_text(entry, "cn"), _number(entry, "gidNumber")) for _, entry in found)
        return [(name or "", number) for name, number in numbered if number is not None]

    @staticmethod
    def _search(
        connection: ldap3.Connection, base: str, query: str, attributes: list[str], *, limit: int
    ) -> list[tuple[str, Entry]]:
        connection.search(base, query, ldap3.SUBTREE, attributes=attributes, size_limit=limit)
        result = connection.result
        if result["result"] not in (results.RESULT_SUCCESS, results.RESULT_SIZE_LIMIT_EXCEEDED):
            log.error("ldap.search_failed", base=base, result=result["description"])
            raise errors.DirectoryUnavailable("the directory of users does not answer the search")
        response: list[dict[str, Any]] = connection.response or []
        return [(item["dn"], item["raw_attributes"]) for item in response if item["type"] == "searchResEntry"]

    def _described(self, spelled: str, entry: Entry, groups: list[tuple[str, int]]) -> Person:
        settings, fields = self._settings, self._fields
        gid, login = _number(entry, fields.gid), spelled.lower()
        admin = login in (name.lower() for name in settings.ldap_admins)
        if settings.ldap_admin_group is not None:
            admin = admin or settings.ldap_admin_group.lower() in (name.lower() for name, _ in groups)
        return Person(
            login=login,
            entry=spelled,
            uid=_number(entry, fields.uid),
            gid=gid,
            groups=tuple(sorted({number for _, number in groups} - {gid})),
            home=_text(entry, fields.home),
            mail=_text(entry, fields.mail),
            admin=admin,
        )


class _Tls(ldap3.Tls):
    """TLS by the standard library, which checks the host's name in the handshake; the driver's own code is older."""

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        context = ssl.create_default_context(cafile=self.ca_certs_file)
        connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


def _bytes(password: str) -> bytes | None:
    """
    Return the password's bytes unchanged. The driver would prepare a text (SASLprep), which changes or rejects passwords
    that directories accept, since they compare unprepared text. None for text without an encoding.
    """
    try:
        return password.encode()
    except UnicodeEncodeError:  # an unpaired surrogate
        return None


def _spelling(entry: Entry, name: str, login: str) -> str:
    """Return the login as the entry has it: of several values the given one, ignoring case."""
    for value in entry.get(name) or []:
        text = value.decode(errors="replace")
        if text.lower() == login.lower():
            return text
    return login


def _text(entry: Entry, name: str) -> str | None:
    """Return the first value of an attribute."""
    values = entry.get(name) or []
    try:
        return values[0].decode() if values else None
    except UnicodeDecodeError:
        return None


def _number(entry: Entry, name: str) -> int | None:
    """Return the number of a user or group, never root's: a directory must not give rights over the hosts."""
    text = _text(entry, name)
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) <= 10 else 0
    return number if 0 < number < 2**32 - 1 else None
