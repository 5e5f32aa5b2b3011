"""Which addresses an export may go to without the policy's word, and which addresses are an address at all."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.courier.reach import is_public
from agent.envelope.deposit import read_deposit
from agent.errors import RefusedError


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"],
)
def test_address_of_the_world_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "0.0.0.0",  # noqa: S104 - looked at, not bound
        "255.255.255.255", "192.0.2.7", "198.18.0.1", "240.0.0.1", "192.0.0.8", "192.88.99.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fc00::1", "ff02::1", "2001:db8::1", "3fff::1",
        "::ffff:127.0.0.1", "::ffff:192.168.1.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "::7f00:1",
        "2002:7f00:1::", "2002:c0a8:101::1", "2001:0:7f00:1::", "64:ff9b:1::1", "100::1", "fec0::1",
        "", "localhost", "1", "0x7f000001", "127.1",
    ],
)  # fmt: skip
def test_address_of_this_house_is_not_public_in_whatever_form(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_every_form_that_holds_a_private_address_is_private(address: object) -> None:
    number = int(address)  # type: ignore[call-overload] # an address
    forms = [
        f"::ffff:{address}",
        f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}",
        f"::{number >> 16:x}:{number & 0xFFFF:x}",
    ]
    if not is_public(str(address)):
        assert not any(map(is_public, forms))


@pytest.mark.parametrize(
    "url",
    [
        "http://inbox.example/", "https://inbox.example", "https://inbox.example/file", "https:///folder/",
        "https://user:word@inbox.example/", "https://inbox.example/#a", "https://inbox.example/?a#b",
        "https://inbox.example:99999/", "https://inbox.example/a b/", "https://inbox.example/\r\nX: y/",
        "https://[::1/", "ftp://inbox.example/", "https://inbox.example/ä/",
        "https://inbox.example/" + "a" * 2048 + "/",
        "file:///etc/", "https://a..b/x/", "https://.a/x/", "https://a./x/", "https://-a.b/x/",
        "https://" + "a" * 64 + ".example/",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_folder_over_https_is_malformed(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_deposit(url)
    assert caught.value.reason == "malformed"


def test_query_stands_behind_the_name_of_each_file_and_a_port_is_kept() -> None:
    found = read_deposit("https://Inbox.Example:8443/claims/42/?sig=a%2Fb")
    assert (found.host, found.port) == ("inbox.example", 8443)
    assert found.target("part-001.zip.age") == "/claims/42/part-001.zip.age?sig=a%2Fb"


@given(st.text())
def test_no_text_escapes_the_reader_but_as_malformed(url: str) -> None:
    for text in (url, f"https://{url}/", f"https://inbox.example/{url}/"):
        with suppress(RefusedError):
            assert read_deposit(text).host.isascii()
