"""Models of a user in the Web API, and the changes that a sender may make."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.api.wire.fields import WINDOW, Email, Line, Login, Priority, Quota
from shared.models.user import User


class _Part(BaseModel):
    # Clients send the whole user back with one field changed: ignore fields that nobody may change.
    model_config = ConfigDict(extra="ignore")


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_SIZE = r"^([0-9]{1,15}(\.[0-9]{1,3})?[KMGTkmgt]?[Bb]?)?$"


PublicKey = Annotated[Line, Field(max_length=16_384)]
Size = Annotated[str, Field(pattern=_SIZE), BeforeValidator(_as_text)]


class CredentialsIn(_Part):
    """Keys of the user."""

    public: PublicKey | None = Field(None, description="SSH public key, one line")


class AllowanceIn(_Part):
    """Quotas, priority and the size of the personal storage."""

    prio: Priority | None = Field(None, description="Priority in fair share, 0 to 100; 50 is usual")
    quota_time: Quota | None = Field(None, description=f"Limit on the seconds that the user's tasks run {WINDOW}")
    quota_cpu: Quota | None = Field(None, description=f"Limit on the sum of cores that the tasks ask for {WINDOW}")
    quota_ram: Quota | None = Field(None, description=f"Limit on the sum of GB that the tasks ask for {WINDOW}")
    disk: Size | None = Field(
        None,
        description="Size of the personal storage, like `500M`, or a number of bytes; empty: the default; 0: no limit",
    )


class UserChange(_Part):
    """A user to change. A user may change `email` and `credentials.public`, an admin every field."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"email": "alice@example.org"}]})

    email: Email | None = Field(None, description="Address for mails about tasks; empty: none")
    credentials: CredentialsIn | None = Field(None, description="Keys of the user")
    usage: AllowanceIn | None = Field(None, description="Quotas, priority and the size of the personal storage")
    admin: bool | None = Field(None, description="The user may do everything")
    active: bool | None = Field(None, description="The user may log in")


class GuestStatus(_Part):
    """A guest to activate or deactivate."""

    id: Login = Field(description="Login of the guest")
    active: bool = Field(description="The guest may log in")


class CredentialsOut(BaseModel):
    """Keys of a user, as far as they can be shown."""

    apikey: str = Field(description="First characters of the API key, followed by dots")
    public: str | None = Field(description="SSH public key")
    private: str = Field(description="Always empty")


class AllowanceOut(BaseModel):
    """Quotas, priority and the size of the personal storage."""

    prio: int = Field(description="Priority in fair share, 0 to 100")
    quota_time: float = Field(description=f"Limit on the seconds that the user's tasks run {WINDOW}")
    quota_cpu: float = Field(description=f"Limit on the sum of cores that the tasks ask for {WINDOW}")
    quota_ram: float = Field(description=f"Limit on the sum of GB that the tasks ask for {WINDOW}")
    disk: str | None = Field(description="Size of the personal storage; null: the default; 0: no limit")


class UserOut(BaseModel):
    """A user."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="Login of the user")
    uid: int = Field(description="User number that tasks run with")
    gid: int = Field(description="Group number that tasks run with")
    sgids: list[int] = Field(description="Further group numbers that tasks run with")
    homeDirectory: str | None = Field(description="Home directory on the nodes, mounted by the volume `home`")
    email: str | None = Field(description="Address for mails about tasks")
    admin: bool = Field(description="The user may do everything")
    guest: bool = Field(description="The user is a guest")
    active: bool = Field(description="The user may log in")
    credentials: CredentialsOut = Field(description="Keys of the user, as far as they can be shown")
    usage: AllowanceOut = Field(description="Quotas, priority and the size of the personal storage")
    last: float | None = Field(description="Last login, seconds since the epoch (UTC)")


class ApiKeyOut(BaseModel):
    """A new API key, with a warning if other tokens of the user are still valid."""

    apikey: str = Field(description="API key, shown only this once")
    warnings: list[str] | None = Field(
        None, description="Earlier tokens that are still valid; absent if there are none"
    )


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


def changes(sent: UserChange, *, by_admin: bool) -> dict[str, Any]:
    """Return the stored fields that `sent` changes, by dotted name, restricted to those the sender may change."""
    fields: dict[str, Any] = {}
    if "email" in sent.model_fields_set:
        fields["email"] = sent.email or None
    if sent.credentials is not None and sent.credentials.public is not None:
        fields["public_key"] = sent.credentials.public
    if not by_admin:
        return fields
    if sent.usage is not None:
        allowance = sent.usage.model_dump(include=sent.usage.model_fields_set)
        fields |= {f"usage.{name}": value for name, value in allowance.items() if value is not None}
        if "disk" in allowance:
            fields["usage.disk"] = sent.usage.disk or None
    for name in ("admin", "active"):
        if (value := getattr(sent, name)) is not None:
            fields[name] = value
    return fields
