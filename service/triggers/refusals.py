"""Why a delivery is not taken, by consequence; the web room's table gives each its HTTP status.

The message is for the delivery log: callers who have not proven anything get a fixed phrase.
"""

from datetime import timedelta


class Refused(Exception):
    """The delivery is not taken. `retry_after` is set where trying again can help."""

    retry_after: timedelta | None = None


class UnknownPath(Refused):
    """No Receiver has this path."""


class NotReady(Refused):
    """The caches are not complete, so that nothing can be said about a path yet."""

    retry_after = timedelta(seconds=5)


class Unavailable(Refused):
    """The Receiver is suspended, or cannot be served as it is."""

    retry_after = timedelta(seconds=60)


class KeysUnknown(Refused):
    """The key that the delivery is signed with is not known yet."""

    retry_after = timedelta(seconds=10)


class BadRequest(Refused):
    """The signature or the body is bad."""


class NotAllowed(BadRequest):
    """The caller has shown who it is, by a token that is good, and that is not enough. It is told why, as Flux promises."""


class NotFromThere(Refused):
    """Deliveries may come from elsewhere alone."""


class TooMany(Refused):
    """Whoever calls was refused too often; `retry_after` says until when."""

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class FilterFailed(Refused):
    """An expression of the Receiver could not be evaluated, and it asks for callers to be told. The delivery is stored all the same."""


class TooLarge(Refused):
    """The body is longer than is read."""


class TooSlow(Refused):
    """The body did not arrive in time, or broke off."""


class Overloaded(Refused):
    """More is in flight than is held in memory."""

    retry_after = timedelta(seconds=5)


class NotStored(Refused):
    """The delivery is good, but it could not be made durable."""

    retry_after = timedelta(seconds=10)
