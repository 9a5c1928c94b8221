"""Validation of command arguments by the rules of the Web API; each function returns its value."""

from __future__ import annotations

from shared import errors
from shared.models.project import PROJECT_ID
from shared.models.user import USER_ID
from shared.units import addresses
from shared.wording import texts

LOGIN_RULE = "must start with a lower-case letter or _, followed by up to 31 lower-case letters, digits, _, . or -"
PROJECT_RULE = "must start with a letter or digit, followed by up to 63 letters, digits, _, . or -"


def login(field: str, name: str) -> str:
    """Check the name of a user. Raises `errors.InvalidInput`."""
    if not USER_ID.fullmatch(name):
        raise errors.InvalidInput.of(field, f"{name!a} is not a user name: it {LOGIN_RULE}")
    return name


def logins(field: str, names: list[str]) -> list[str]:
    """Check names of users and drop duplicates. Raises `errors.InvalidInput`."""
    return list(dict.fromkeys(login(field, name) for name in names))


def project(name: str) -> str:
    """Check the name of a project. Raises `errors.InvalidInput`."""
    if not PROJECT_ID.fullmatch(name):
        raise errors.InvalidInput.of("project", f"{name!a} is not a project name: it {PROJECT_RULE}")
    return name


def line(field: str, text: str, *, most: int) -> str:
    """Check for one non-empty line of at most `most` characters. Raises `errors.InvalidInput`."""
    try:
        texts.one_line(text)
    except ValueError as error:
        raise errors.InvalidInput.of(field, str(error)) from None
    if not 0 < len(text) <= most:
        raise errors.InvalidInput.of(field, f"must have 1 to {most} characters")
    return text


def paragraphs(field: str, text: str, *, most: int) -> str:
    """Check for text of at most `most` characters, possibly empty. Raises `errors.InvalidInput`."""
    try:
        texts.paragraphs(text)
    except ValueError as error:
        raise errors.InvalidInput.of(field, str(error)) from None
    if len(text) > most:
        raise errors.InvalidInput.of(field, f"must have at most {most} characters")
    return text


def email(address: str) -> str:
    """Check a mail address. Raises `errors.InvalidInput`."""
    if not addresses.is_address(address):
        raise errors.InvalidInput.of("email", f"{address!a} is not a mail address like alice@example.org")
    return address
