"""How a fetch fails, each with the reason of the condition that Flux's users know. All pickle: fetches also run in processes."""

import aiohttp

from service.kinds import meta


class FetchError(Exception):
    """The fetch brought nothing; the text says what to do and holds no secret."""

    reason = meta.GIT_OPERATION_FAILED


class HttpRefused(Exception):
    """A remote that is asked over HTTP refused or is away. `status` is that of its answer, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def unauthorized(self) -> bool:
        """Whether the credentials are what is wrong."""
        return self.status in (401, 403)


def happened(error: BaseException) -> str:
    """What happened on the way, without what the other side said."""
    if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
        return "the connection was closed in the middle"
    return type(error).__name__ if isinstance(error, aiohttp.ClientResponseError) else str(error) or type(error).__name__


class AuthRefused(FetchError):
    """The remote wants other credentials, or any."""

    reason = meta.AUTHENTICATION_FAILED


class RemoteGone(FetchError):
    """There is no repository at the URL, or not for these credentials."""


class RemoteFailed(FetchError):
    """The network or the remote failed."""


class RemoteEmpty(FetchError):
    """The repository has no commit."""

    reason = meta.EMPTY_REPOSITORY


class NoRef(FetchError):
    """The remote does not have the branch, tag, name or commit."""


class NoCommit(FetchError):
    """The ref leads to something that is no commit."""


class Stopped(FetchError):
    """Not finished in time."""


class BadStore(FetchError):
    """The store in the state folder is damaged; it is made anew."""
