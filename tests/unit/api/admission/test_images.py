"""Image references: their grammar and the registries that are allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.admission import images

GOOD = [
    "busybox",
    "centos:latest",
    "debian:12",
    "library/debian:12-slim",
    "osallou/test_image:v1.2.3",
    "registry.example.org/group/image:tag",
    "registry.example.org:5000/a/b/c",
    "ghcr.io/some-org/some.image__x:2024.01_rc1",
    "debian@sha256:" + "a" * 64,
    "quay.io/biocontainers/samtools:1.9--h8571acd_11@sha256:" + "0123456789abcdef" * 4,
    "8.8.8.8/image",
    "8.8.8.8:5000/image",
    "a" * 64,
    "my--image",
    "UPPER.example.org/image",
    "image:Tag_With.Upper-case",
]

BAD = [
    "",
    " ",
    "a b",
    "Debian",
    "group/Image",
    "image:",
    "image:tag:tag",
    "image:-tag",
    "image:" + "t" * 129,
    "image@",
    "image@sha256:short",
    "image@sha256:" + "g" * 64,
    ":tag",
    "/image",
    "image/",
    "a//b",
    "../image",
    "registry.example.org/../image",
    "registry.example.org:5000/../x",
    "registry.example.org:port/image",
    "registry.example.org:123456/image",
    "http://registry.example.org/image",
    "scheme://image",
    "user@registry.example.org/image",
    "image\n",
    "image\0",
    "image;id",
    "$(id)",
    "`id`",
    "-image",
    "--privileged",
    "image --privileged",
    "imagé",
    "i\u200bmage",
    "image?x",
    "image#x",
    "image%2fx",
    "a" * 256,
    "a/" * 2048 + "a",
    "\ud800",
]

INTERNAL = [
    "127.0.0.1/x",
    "127.0.0.1:2375/x",
    "127.1:2375/x",
    "127.1/x",
    "2130706433:80/x",
    "0.0.0.0:5000/x",
    "0x7f.0x0.0x0.0x1/x",
    "0x7f000001:80/x",
    "0177.0.0.1/x",
    "10.0.0.1/x",
    "10.1.2.3:5000/group/x:tag",
    "172.16.0.1:5000/x",
    "192.168.1.1/x",
    "169.254.169.254/latest/meta-data",
    "100.64.0.1/x",
    "224.0.0.1/x",
    "255.255.255.255/x",
    "localhost/x",
    "localhost:5000/x",
    "LOCALHOST:5000/x",
    "mongo:27017/x",
    "docker:2375/group/x",
    "some.localhost/x",
    "printer.local/x",
    "metadata.google.internal/x",
    "METADATA.GOOGLE.INTERNAL:80/x",
]


@pytest.mark.parametrize("reference", GOOD)
def test_a_good_reference_is_accepted(reference: str) -> None:
    assert images.problem_of(reference, allowed_registries=None) is None


@pytest.mark.parametrize("reference", BAD)
def test_an_invalid_reference_is_refused(reference: str) -> None:
    problem = images.problem_of(reference, allowed_registries=None)
    assert problem is not None
    assert "image reference" in problem


@pytest.mark.parametrize("reference", ["[::1]/x", "[::1]:5000/x", "[::ffff:127.0.0.1]/x", "::1/x"])
def test_an_ipv6_address_is_not_a_registry(reference: str) -> None:
    assert images.problem_of(reference, allowed_registries=None) is not None


@pytest.mark.parametrize("reference", INTERNAL)
def test_a_registry_inside_a_network_is_refused(reference: str) -> None:
    problem = images.problem_of(reference, allowed_registries=None)
    assert problem is not None
    assert "internal address" in problem


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("debian:12", ["docker.io"]),
        ("group/debian:12", ["docker.io"]),
        ("registry.example.org/x", ["docker.io", "registry.example.org"]),
        ("REGISTRY.example.org/x", ["registry.example.org"]),
        ("registry.example.org:5000/x", ["registry.example.org:5000"]),
        ("localhost:5000/x", ["localhost:5000"]),
        ("10.0.0.1:5000/x", ["10.0.0.1:5000"]),
    ],
)
def test_a_registry_of_the_list_is_accepted_even_inside_the_network(reference: str, allowed: list[str]) -> None:
    assert images.problem_of(reference, allowed_registries=allowed) is None


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("debian:12", ["registry.example.org"]),
        ("debian:12", []),
        ("registry.example.org/x", ["docker.io"]),
        ("registry.example.org:5000/x", ["registry.example.org"]),
        ("registry.example.org/x", ["registry.example.org:5000"]),
        ("evil.org/registry.example.org/x", ["registry.example.org"]),
        ("registry.example.org.evil.org/x", ["registry.example.org"]),
        ("localhost/x", ["docker.io"]),
    ],
)
def test_a_registry_that_is_not_on_the_list_is_refused(reference: str, allowed: list[str]) -> None:
    problem = images.problem_of(reference, allowed_registries=allowed)
    assert problem is not None
    assert "comes from registry" in problem


@given(st.text(max_size=300))
def test_any_text_is_checked_quickly(text: str) -> None:
    images.problem_of(text, allowed_registries=None)


def test_the_grammar_does_not_backtrack() -> None:
    for text in ("a-" * 127, "a." * 127, "a/" * 127 + "!", "a" * 254 + "!", "a__" * 84 + "!"):
        assert images.problem_of(text, allowed_registries=None) is not None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1.nip.io",
        "10.0.0.1.nip.io:5000",
        "app.192.168.1.1.sslip.io",
        "app-10-0-0-1.sslip.io",
        "7f000001.nip.io",
        "x-0a000001.nip.io",
        "169.254.169.254.example.org",
    ],
)
def test_a_name_that_spells_an_internal_address_is_one(host: str) -> None:
    problem = images.problem_of(f"{host}/x", allowed_registries=None)
    assert problem is not None
    assert "internal" in problem
    assert images.problem_of(f"{host}/x", allowed_registries=[host]) is None


@pytest.mark.parametrize("host", ["8.8.8.8.nip.io", "08080808.nip.io", "v1.2.3.example.org", "1.20.300.4.example.org"])
def test_a_name_that_spells_a_public_address_or_none_is_accepted(host: str) -> None:
    assert images.problem_of(f"{host}/x", allowed_registries=None) is None


@pytest.mark.parametrize(
    ("address", "internal"),
    [
        ("10.1.2.3", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("::ffff:192.168.0.1", True),
        ("2002:7f00:1::", True),  # 6to4 of 127.0.0.1
        ("0.0.0.0", True),
        ("100.64.0.1", True),
        ("169.254.169.254", True),
        ("8.8.8.8", False),
        ("2606:4700::1", False),
        ("example.org", False),
    ],
)
def test_addresses_of_private_networks_are_internal(address: str, internal: bool) -> None:
    assert images.is_internal_address(address) is internal
