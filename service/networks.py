"""Lists of networks, as flags and annotations name them, and the addresses of callers. https://www.rfc-editor.org/rfc/rfc4632

In: `10.0.0.0/8, 2001:db8::/32`. Out: whether an address lies in one of them.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]


def networks(text: str) -> Networks:
    """Return the networks of a list with commas; an address alone is a network of one. Raises ValueError, which names the bad one."""
    found: list[Network] = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ip_network(each, strict=False))
        except ValueError as error:
            raise ValueError(f"{each[:60]!r} is no network: write it like 192.0.2.0/24 or 2001:db8::/32") from error
    return tuple(found)


@lru_cache(maxsize=4096)
def address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a text is, None where it is none. IPv4 within IPv6 is IPv4, a zone does not count."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def lies_in(text: str, among: Networks) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    found = address(text)
    return found is not None and any(found in each for each in among)


def neighbourhood(text: str) -> str:
    """What one caller can choose freely counts as one: of IPv6 the first 64 bits."""
    found = address(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found) if found is not None else text[:64]
