"""Where a fetch really goes: a remote's address in, the address that it redirects to out, none that the outbound policy refuses.

libgit2 resolves names and follows redirects by itself. So the addresses of names are looked at before, and where a remote without TLS
redirects to is asked here: libgit2 tells nobody of such redirects, and would take a token along. Blocking.
"""

import http.client
from urllib.parse import urljoin, urlsplit

from service.outbound import OutboundRefused, Policy, check_reach
from service.sources.credentials import Credentials, masked
from service.sources.fetcherror import RemoteFailed, Stopped

GIT_POLICY = Policy(loopback=True)
"""For Git remotes this machine is a host like others, but for our own ports."""
REDIRECTS = 3
_ASKED = "/info/refs?service=git-upload-pack"


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Return what must not change where credentials are sent."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def reachable(url: str, policy: Policy) -> None:
    """Return if the addresses that the URL's host has now may be connected to. Raises RemoteFailed."""
    try:
        check_reach(url, policy)
    except OutboundRefused as error:
        raise RemoteFailed(f"unable to clone '{masked(url)}': not allowed: {error}") from None


def landed(url: str, credentials: Credentials, policy: Policy, *, seconds: float) -> str:
    """Return where the repository is that an address without TLS redirects from. Raises RemoteFailed, Stopped."""
    found = url
    for _ in range(REDIRECTS):
        where = _redirected(found, credentials.bearer, seconds)
        if not where:
            return found
        if credentials.given and origin_of(where) != origin_of(url):
            raise RemoteFailed(f"the remote redirects to '{masked(where)}', which is not sent any credentials; write it into spec.url")
        reachable(where, policy)
        if not where.startswith("http:"):
            return where
        found = where
    raise RemoteFailed(f"unable to clone '{masked(url)}': redirected more than {REDIRECTS} times; write the last address into spec.url")


def _redirected(url: str, bearer: str, seconds: float) -> str:
    """Where the remote says that the repository is, "" for here."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        connection.request("GET", parts.path.rstrip("/") + _ASKED, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
        answer = connection.getresponse()
        where = answer.getheader("Location") if 300 <= answer.status < 400 else None
    except TimeoutError as error:
        raise Stopped(f"unable to clone '{masked(url)}': the remote did not answer in time") from error
    except (http.client.HTTPException, OSError, ValueError) as error:  # of the network: it says nothing about the store
        raise RemoteFailed(f"unable to clone '{masked(url)}': no HTTP answer: {error}") from error
    finally:
        connection.close()
    if not where:
        return ""
    where = urljoin(url, where)
    if urlsplit(where).scheme not in ("http", "https"):
        raise RemoteFailed(f"unable to clone '{masked(url)}': it redirects to something that is no http address; correct spec.url")
    return where.removesuffix(_ASKED)
