"""A Helm chart repository over HTTP: one file fetched to disk, hashed on the way, with credentials for its own origin alone.

In: a session under the outbound policy, the repository's address and log-in. Out: the file and its SHA-256, or that it has not changed.
Redirects are followed without the log-in where they leave the origin. https://helm.sh/docs/topics/chart_repository/
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp

from service.outbound import OutboundRefused, refusal_in
from service.sources.credentials import masked
from service.sources.dockerconfig import Login
from service.sources.fetcherror import HttpRefused, happened

MOST_REDIRECTS = 5
CHUNK = 2**18
SETTLED = timedelta(seconds=5)
_MOVED = (301, 302, 303, 307, 308)


class MuseumError(HttpRefused):
    """The chart repository refused or is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A file that was fetched: `digest` in hex, `size` in bytes. `etag` and `modified` are what to ask with the next time."""

    digest: str
    size: int
    etag: str
    modified: str


class Museum:
    """One repository. `pass_credentials`: the log-in also goes to other hosts that the index names charts at."""

    def __init__(self, session: aiohttp.ClientSession, url: str, login: Login, *, pass_credentials: bool = False) -> None:
        self._session = session
        self._url = url
        self._login = login
        self._pass = pass_credentials

    async def fetch(self, url: str, target: Path, *, most: int, asked: Mapping[str, str] | None = None) -> Got | None:
        """Write what is at `url` to a file; None where it has not changed, by the conditions `asked`.

        Raises MuseumError, also where it is larger than `most` bytes, and OSError where the disk is full.
        """
        allowed = {_origin(self._url), *([_origin(url)] if self._pass else [])}
        at = url
        try:
            for _ in range(MOST_REDIRECTS + 1):
                headers = {"Accept-Encoding": "identity", **(asked or {})}
                if self._login.given and _origin(at) in allowed:
                    headers["Authorization"] = aiohttp.encode_basic_auth(self._login.username, self._login.password)
                async with self._session.get(at, headers=headers, allow_redirects=False) as answer:
                    if answer.status in _MOVED and "Location" in answer.headers:
                        at = _onward(at, answer.headers["Location"])
                        continue
                    if answer.status == 304 and asked:
                        return None
                    if answer.status != 200:
                        raise MuseumError(f"failed to fetch {masked(url)}: {answer.status} {_words_of(answer.status)}", answer.status)
                    return await _written(answer, target, most=most)
        except (aiohttp.ClientError, ConnectionError, OutboundRefused) as error:
            refusal = refusal_in(error)
            why = str(refusal) if refusal is not None else f"no answer, or one that broke off: {happened(error)}"
            raise MuseumError(f"failed to fetch {masked(url)}: {why}") from error
        raise MuseumError(f"failed to fetch {masked(url)}: redirected more than {MOST_REDIRECTS} times")


async def _written(answer: aiohttp.ClientResponse, target: Path, *, most: int) -> Got:
    hashed, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        async for chunk in answer.content.iter_chunked(CHUNK):
            size += len(chunk)
            if size > most:
                raise MuseumError(f"size of {masked(str(answer.url))} exceeds {most:,} bytes limit")
            hashed.update(chunk)
            file.write(chunk)
    modified = answer.headers.get("Last-Modified", "")
    if not _is_settled(modified, answer.headers.get("Date", "")):
        modified = ""
    return Got(digest=hashed.hexdigest(), size=size, etag=answer.headers.get("ETag", ""), modified=modified)


def _is_settled(modified: str, date: str) -> bool:
    """Whether a file cannot have changed again within the second that Last-Modified tells. https://www.rfc-editor.org/rfc/rfc9110#8.8.2.2"""
    try:
        return parsedate_to_datetime(date) - parsedate_to_datetime(modified) >= SETTLED
    except (TypeError, ValueError):
        return False


def below(repository: str, reference: str) -> str:
    """Return the URL of something that an index names: absolute, or relative to the repository, whose query stays."""
    if urlsplit(reference).scheme:
        return reference
    parts = urlsplit(repository)
    found = urlsplit(urljoin(urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/", "", "")), reference))
    return urlunsplit((found.scheme, found.netloc, found.path, parts.query, ""))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    return parts.scheme, f"{(parts.hostname or '').lower()}:{port}"


def _onward(at: str, location: str) -> str:
    onward = urljoin(at, location)
    if urlsplit(at).scheme == "https" and urlsplit(onward).scheme != "https":
        raise MuseumError("redirected from https to another scheme")
    return onward


def _words_of(status: int) -> str:
    return {401: "(not logged in)", 403: "(not allowed)", 404: "(not found)", 429: "(too many requests)"}.get(status, "")
