"""A user as the Web API shows it, and what of it may be sent back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.api.wire.fields import Email, Login, Priority, Quota
from services.api.wire.submission import Line
from shared.models.user import User


class _Part(BaseModel):
    # Clients send the whole user back with one field changed: what nobody may change is not even looked at.
    model_config = ConfigDict(extra="ignore")


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_SIZE = r"^([0-9]{1,15}(\.[0-9]{1,3})?[KMGTkmgt]?[Bb]?)?$"


class CredentialsIn(_Part):
    public: Annotated[Line, Field(max_length=16_384)] | None = None


class AllowanceIn(_Part):
    """Quotas, priority and the size of the personal storage (`500M`, or a number of bytes)."""

    prio: Priority | None = None
    quota_time: Quota | None = None
    quota_cpu: Quota | None = None
    quota_ram: Quota | None = None
    disk: Annotated[str, BeforeValidator(_as_text), Field(pattern=_SIZE)] | None = None


class UserIn(_Part):
    """A user to change. A user may change `email` and `credentials.public`, an admin also the other fields named here."""

    email: Email | None = None
    credentials: CredentialsIn | None = None
    usage: AllowanceIn | None = None
    admin: bool | None = None
    active: bool | None = None


class GuestStatus(_Part):
    id: Login
    active: bool


class UserOut(BaseModel):
    """A user. Of the API key only the first characters are known."""

    model_config = ConfigDict(extra="allow")

    id: str
    uid: int
    gid: int
    sgids: list[int]
    homeDirectory: str | None
    email: str | None
    admin: bool
    guest: bool
    active: bool
    credentials: dict[str, Any]
    usage: dict[str, Any]
    last: float | None


class ApiKeyOut(BaseModel):
    """The new key, shown this once."""

    apikey: str


def shown(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "uid": user.uid,
        "gid": user.gid,
        "sgids": user.sgids,
        "homeDirectory": user.home,
        "email": user.email,
        "admin": user.admin,
        "guest": user.guest,
        "active": user.active,
        "credentials": {"apikey": f"{user.apikey.hint}......", "public": user.public_key, "private": ""},
        "usage": user.usage.model_dump(),
        "last": user.last,
    }


def changes(sent: UserIn, *, by_admin: bool) -> dict[str, Any]:
    """The fields of the stored user that `sent` sets, by dotted name; only those that the sender may change."""
    fields: dict[str, Any] = {}
    if "email" in sent.model_fields_set:
        fields["email"] = sent.email or None
    if sent.credentials is not None and sent.credentials.public is not None:
        fields["public_key"] = sent.credentials.public
    if not by_admin:
        return fields
    if sent.usage is not None:
        set_ones = sent.usage.model_dump(include=sent.usage.model_fields_set)
        fields |= {f"usage.{name}": value for name, value in set_ones.items() if value is not None}
        if "disk" in set_ones:
            fields["usage.disk"] = sent.usage.disk or None
    for name in ("admin", "active"):
        if (value := getattr(sent, name)) is not None:
            fields[name] = value
    return fields
