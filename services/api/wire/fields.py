"""Field types that several documents of the Web API share: pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.config import JsonDict

from shared.wording import texts


def _no_bool(value: Any) -> Any:
    # In Python a bool is an int, but true is not an amount.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


def without_default(schema: JsonDict) -> None:
    """Remove the default from the schema of a field that may be absent and is never null."""
    schema.pop("default", None)


#: Put it after the bounds of a number: pydantic puts into a schema only what precedes a validator.
NoBool = BeforeValidator(_no_bool)

Line = Annotated[str, AfterValidator(texts.one_line)]
ShortLine = Annotated[str, Field(max_length=64), AfterValidator(texts.one_line)]
Text = Annotated[str, Field(max_length=10_000), AfterValidator(texts.paragraphs)]
Script = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]

#: Numbers may come as strings: clients of GO-Docker send them that way.
Amount = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False), NoBool]
Count = Annotated[int, Field(ge=0, le=1_000_000), NoBool]
Port = Annotated[int, Field(ge=1, le=65535), NoBool]
TaskId = Annotated[int, Field(ge=1, le=2**53), NoBool]
Ids = Annotated[list[TaskId], Field(max_length=1000)]
TextOrNumber = Annotated[str | int, NoBool]

DIRECTORY_VOLUME = "go-docker"  #: the task's own directory in the list of its volumes
WINDOW = "within the usage window; 0: no limit"  #: the end of each quota's description

#: A sum over the usage window; 0: no limit.
Quota = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False), NoBool]
Priority = Annotated[int, Field(ge=0, le=100), NoBool]
Email = Annotated[str, Field(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$"), AfterValidator(texts.one_line)]
Login = Annotated[str, Field(max_length=32, pattern=r"^[a-z_][a-z0-9_.-]{0,31}$")]
Access = Annotated[str, Field(pattern=r"^(ro|rw)$")]
