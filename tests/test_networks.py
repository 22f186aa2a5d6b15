"""Networks as people write them, and addresses as sockets give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.networks import address, lies_in, neighbourhood, networks


@pytest.mark.parametrize(("text", "inside", "outside"), [
    ("10.0.0.0/8", "10.1.2.3", "11.0.0.1"),
    ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
    ("10.1.2.3/8", "10.9.9.9", "9.9.9.9"),
    ("2001:db8::/32, 10.0.0.0/8", "2001:db8:1::5", "2001:db9::1"),
    ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
    ("fe80::/10", "fe80::1%eth0", "::1"),
])  # fmt: skip
def test_an_address_lies_in_a_network_or_not(text: str, inside: str, outside: str) -> None:
    assert lies_in(inside, networks(text))
    assert not lies_in(outside, networks(text))
    assert not lies_in("not an address", networks(text))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "example.com", "10.0.0", "::/129", "10.0.0.0/8;::1"])
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        networks(f"192.0.2.0/24, {text}")
    assert networks("") == networks(" , ") == ()


def test_a_caller_with_many_addresses_is_one_neighbour() -> None:
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("10.0.0.1") == neighbourhood("::ffff:10.0.0.1") != neighbourhood("10.0.0.2")


@given(st.text())
def test_any_text_is_an_address_or_is_not(text: str) -> None:
    found = address(text)
    assert found is None or address(str(found)) == found
    assert len(neighbourhood(text)) <= 64
