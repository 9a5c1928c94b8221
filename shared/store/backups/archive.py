"""
The format of a backup: one gzip stream of BSON documents, read and written front to back.

    {godocker: 1, schema, version, at, database}      the first document, about the whole
    {c: name, n: documents, d: bytes}                 documents of a collection, concatenated, any number of times
    {end: true, collections: {name: {documents, bytes, sha256}}}

Without its last document a backup is incomplete. Any reader of BSON can read it.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import bson
from bson.binary import Binary
from bson.errors import BSONError

from shared import errors

FORMAT = 1
LEVEL = 1  #: compression level: the server does not keep a snapshot for long
_MOST = 64 * 1024**2  #: most bytes of one document of the stream; the server's batches have up to 16 MB
_SIZE = 4  #: bytes of the length at the start of a BSON document


@dataclass(frozen=True, slots=True)
class Header:
    """Facts about a backup. `at` is the time it was begun, in seconds since the epoch."""

    schema: int
    version: str
    at: float
    database: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one collection, as concatenated BSON."""

    collection: str
    documents: int
    data: bytes


@dataclass(slots=True)
class Sum:
    """Totals of one collection."""

    documents: int = 0
    bytes: int = 0
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, batch: Batch) -> None:
        self.documents += batch.documents
        self.bytes += len(batch.data)
        self._hash.update(batch.data)

    def totals(self) -> dict[str, Any]:
        return {"documents": self.documents, "bytes": self.bytes, "sha256": self._hash.hexdigest()}


class Writer:
    """Writes a backup to a binary file."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=LEVEL, mtime=header.at)
        self.sums: dict[str, Sum] = {}
        self._put(
            {
                "godocker": FORMAT,
                "schema": header.schema,
                "version": header.version,
                "at": header.at,
                "database": header.database,
            }
        )

    def begin(self, collection: str) -> None:
        """Start a collection; one without documents is recorded too."""
        self.sums[collection] = Sum()

    def write(self, batch: Batch) -> None:
        self.sums[batch.collection].add(batch)
        self._put({"c": batch.collection, "n": batch.documents, "d": Binary(batch.data)})

    def end(self) -> None:
        """Write the end of the backup."""
        self._put({"end": True, "collections": {name: found.totals() for name, found in self.sums.items()}})
        self._gzip.close()

    def _put(self, document: dict[str, Any]) -> None:
        self._gzip.write(bson.encode(document))


class Reader:
    """Reads a backup from a binary file. Every call raises `errors.BackupUnusable` if it is incomplete or damaged."""

    def __init__(self, file: IO[bytes]) -> None:
        self._gzip = gzip.GzipFile(fileobj=file, mode="rb")
        self.sums: dict[str, Sum] = {}
        first = self._next()
        if first.get("godocker") != FORMAT:
            raise errors.BackupUnusable("it is not a backup of GoDocker, or of a later version")
        self.header = Header(int(first["schema"]), str(first["version"]), float(first["at"]), str(first["database"]))

    def batches(self) -> Iterator[Batch]:
        """Yield all documents; at the end compare them with the recorded totals."""
        while not (read := self._next()).get("end"):
            batch = Batch(str(read["c"]), int(read["n"]), bytes(read["d"]))
            self.sums.setdefault(batch.collection, Sum()).add(batch)
            yield batch
        for name, recorded in read["collections"].items():
            if (found := self.sums.setdefault(name, Sum()).totals()) != recorded:
                raise errors.BackupUnusable(f"{name} holds {found}, but {recorded} is recorded")
        if unknown := self.sums.keys() - read["collections"].keys():
            raise errors.BackupUnusable(f"it has no totals of {', '.join(sorted(unknown))}")

    def _next(self) -> dict[str, Any]:
        try:
            head = self._gzip.read(_SIZE)
            size = int.from_bytes(head, "little")
            rest = self._gzip.read(size - _SIZE) if _SIZE < size <= _MOST else b""
            if len(head) < _SIZE or len(head) + len(rest) != size:
                raise errors.BackupUnusable("it is incomplete or damaged")
            return dict(bson.decode(head + rest))
        except (OSError, EOFError, zlib.error, BSONError) as error:
            raise errors.BackupUnusable(f"it is incomplete or damaged ({error})") from None


def split(data: bytes) -> list[bytes]:
    """Return the BSON documents concatenated in `data`."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + _SIZE], "little")
        if size <= _SIZE or at + size > len(data):
            raise errors.BackupUnusable("a document in it is incomplete")
        found.append(data[at : at + size])
        at += size
    return found


def count(data: bytes) -> int:
    """Return the number of documents concatenated in `data`."""
    found, at = 0, 0
    while at < len(data):
        at += int.from_bytes(data[at : at + _SIZE], "little")
        found += 1
    return found
