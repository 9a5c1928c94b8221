"""A real LDAP directory: a slapd on a loopback port, with a certificate of the tests' own authority."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ldap3
import pytest

from godocker.local import ports
from tests.support import hanging, waiting
from tests.support.servers import certificates
from tests.support.servers.engine import cannot_have

BASE = "dc=lab,dc=test"
PEOPLE = f"ou=People,{BASE}"
READER = f"cn=reader,{BASE}"
READER_WORD = "may-look"
_ROOT = f"cn=root,{BASE}"
_ROOT_WORD = "may-all"
_SCHEMAS = Path("/etc/ldap/schema")
_START_TIMEOUT = 30.0

_CONFIG = """\
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/nis.schema
include {schemas}/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server/cert.pem
TLSCertificateKeyFile {folder}/server/key.pem
database mdb
directory {folder}/data
maxsize 16777216
suffix "{base}"
rootdn "{root}"
rootpw {root_password}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by anonymous none by * none
"""


class DirectoryServer:
    """A slapd that a test may stop, start and freeze, and the people in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        reserved = ports.reserve(folder / "ports.json", ["ldap", "ldaps"])
        self.port, self.tls_port = reserved["ldap"], reserved["ldaps"]
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir()
        certificates.make(folder)
        config = _CONFIG.format(
            schemas=_SCHEMAS,
            folder=folder,
            base=BASE,
            root=_ROOT,
            root_password=_ROOT_WORD,
            reader=READER,
        )
        (folder / "slapd.conf").write_text(config)

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is None or self._process.poll() is not None:
            urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
            with (self.folder / "slapd.log").open("ab") as output:
                self._process = subprocess.Popen(
                    [_program(), "-d", "0", "-h", urls, "-f", str(self.folder / "slapd.conf")],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        waiting.until_blocking(self._answers, "slapd answers", timeout=_START_TIMEOUT)

    def stop(self) -> None:
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.wait(10)

    def freeze(self) -> None:
        """Hang it instead of refusing connections."""
        assert self._process is not None
        hanging.stop(self._process.pid)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    # --- the people -----------------------------------------------------------------

    def fill(self) -> None:
        """Create the empty tree, and the account that may read it."""
        with self._connection() as connection:
            for name in self._names(connection):
                assert connection.delete(name), connection.result
            self._add(connection, BASE, ["dcObject", "organization"], {"o": "lab", "dc": "lab"})
            for unit in ("People", "Groups"):
                self._add(connection, f"ou={unit},{BASE}", ["organizationalUnit"], {})
            secret = {"userPassword": READER_WORD}
            self._add(connection, READER, ["organizationalRole", "simpleSecurityObject"], secret)

    def add_person(self, login: str, password: str, *, rdn: str | None = None, **attributes: Any) -> str:
        """Add a person in `ou=People` and return their name. `attributes` override the defaults, such as uidNumber."""
        name = f"{rdn or f'uid={login}'},{PEOPLE}"
        values: dict[str, Any] = {
            "uid": login,
            "cn": login,
            "sn": login,
            "userPassword": password,
            "uidNumber": 30001,
            "gidNumber": 30000,
            "homeDirectory": f"/home/{login}",
            "mail": f"{login}@lab.test",
        }
        given = {key: value for key, value in {**values, **attributes}.items() if value is not None}
        classes = ["inetOrgPerson"] + (["posixAccount"] if "uidNumber" in given else [])
        if "posixAccount" not in classes:
            given = {key: given[key] for key in given.keys() - {"gidNumber", "homeDirectory"}}
        with self._connection() as connection:
            self._add(connection, name, classes, given)
        return name

    def set(self, name: str, **attributes: Any) -> None:
        """Replace attributes of an entry."""
        with self._connection() as connection:
            changes = {key: [(ldap3.MODIFY_REPLACE, [value])] for key, value in attributes.items()}
            assert connection.modify(name, changes), connection.result

    def set_group(self, group: str, number: int, members: list[str]) -> None:
        """Create or replace a group with these members."""
        name = f"cn={group},ou=Groups,{BASE}"
        with self._connection() as connection:
            connection.delete(name)
            values = {"gidNumber": number, **({"memberUid": members} if members else {})}
            self._add(connection, name, ["posixGroup"], values)

    # --- the settings with which it is used ---------------------------------------------

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return settings of a system that uses it."""
        return {
            "auth_policy": "ldap",
            "ldap_host": "127.0.0.1",
            "ldap_port": self.port,
            "ldap_tls": "starttls",
            "ldap_ca": self.folder / "ca.pem",
            "ldap_dn": BASE,
            "ldap_base_dn_filter": "ou=People",
            "ldap_admin_dn": READER,
            "ldap_admin_password": READER_WORD,
            **changes,
        }

    @contextmanager
    def _connection(self) -> Iterator[ldap3.Connection]:
        server = ldap3.Server("127.0.0.1", port=self.port, get_info=ldap3.NONE, connect_timeout=5)
        connection = ldap3.Connection(server, _ROOT, _ROOT_WORD, check_names=False, receive_timeout=5)
        try:
            assert connection.bind(), connection.result
            yield connection
        finally:
            connection.unbind()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @staticmethod
    def _names(connection: ldap3.Connection) -> list[str]:
        """Return all entries, deepest first."""
        connection.search(BASE, "(objectClass=*)", ldap3.SUBTREE, attributes=[])
        names = [item["dn"] for item in connection.response or []]
        return sorted(names, key=lambda name: -name.count(","))

    @staticmethod
    def _add(connection: ldap3.Connection, name: str, classes: list[str], attributes: dict[str, Any]) -> None:
        assert connection.add(name, classes, attributes), connection.result


def _program() -> str:
    # Debian keeps it out of the path of plain users.
    return shutil.which("slapd") or shutil.which("slapd", path="/usr/sbin:/usr/lib/openldap") or ""


@pytest.fixture(scope="session")
def _directory_for_session() -> Iterator[DirectoryServer]:
    if not _program() or not _SCHEMAS.is_dir():
        cannot_have("ldap", "slapd is not installed")
    folder = Path(tempfile.mkdtemp(prefix="godocker-ldap-"))
    server = DirectoryServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def directory_server(_directory_for_session: DirectoryServer) -> Iterator[DirectoryServer]:
    """Run the session's slapd, empty; tests may interfere with it."""
    _directory_for_session.thaw()
    _directory_for_session.start()
    _directory_for_session.fill()
    yield _directory_for_session
    _directory_for_session.thaw()
    _directory_for_session.start()
