"""Settings of the LDAP directory and the mail server, checked together."""

from __future__ import annotations

from typing import Any

import pytest

from shared import errors, settings
from shared.config import loading
from shared.settings import Settings

LDAP: dict[str, Any] = {"auth_policy": "ldap", "ldap_host": "ldap.lab.test", "ldap_dn": "dc=lab,dc=test"}
MAIL: dict[str, Any] = {"smtp_host": "mail.lab.test", "mail_from": "godocker@lab.test"}


def test_a_directory_and_a_mail_server_need_few_settings() -> None:
    configured = loading.load(**LDAP, **MAIL)
    assert (configured.ldap_tls, configured.smtp_tls) == ("starttls", "starttls")
    assert configured.ldap_fields == settings.LdapFields(uid="uidNumber")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"auth_policy": "ldap"}, "needs ldap_host and ldap_dn"),
        ({**LDAP, "ldap_dn": ""}, "needs ldap_host and ldap_dn"),
        ({**LDAP, "ldap_admin_dn": "cn=reader"}, "belong together"),
        ({**LDAP, "ldap_filter": "objectClass=person"}, "ldap_filter"),
        ({**LDAP, "ldap_fields": {"login": "uid)(x=*"}}, "ldap_fields.login"),
        ({**LDAP, "ldap_fields": {"shell": "loginShell"}}, "ldap_fields.shell"),
        ({"smtp_host": "mail.lab.test"}, "needs mail_from"),
        ({**MAIL, "mail_from": "GoDocker <godocker@lab.test>"}, "needs mail_from"),
        ({**MAIL, "smtp_user": "godocker"}, "belong together"),
        ({**MAIL, "smtp_user": "godocker", "smtp_password": "x", "smtp_tls": "none"}, "in the clear"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_what_is_missing(
    values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(errors.ConfigurationError, match="cannot be used") as caught:
        loading.load(**values)
    assert problem in str(caught.value)


def test_passwords_are_not_shown_with_the_settings() -> None:
    shown = repr(Settings(**LDAP, ldap_admin_dn="cn=reader", ldap_admin_password="hush", **MAIL))
    assert "hush" not in shown
