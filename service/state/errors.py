"""What can go wrong with the state, by consequence; every message says what to do next."""


class StateError(Exception):
    """The state cannot be used for this."""


class StateLocked(StateError):
    """Another process uses the folder."""


class StateTooNew(StateError):
    """A newer version wrote the state."""


class StateBusy(StateError):
    """More is waiting to be written than is allowed; nothing was stored, the sender should try again."""


class StateUnwritable(StateError):
    """The disk refused: full, read-only or failing. Nothing was stored, the sender should try again."""


class StateAway(StateUnwritable):
    """The database server cannot be reached. Nothing was stored, the sender should try again."""


class StateInDoubt(StateUnwritable):
    """The server went away while it stored: all of it is there, or nothing. The sender should try again."""


class StateClosed(StateError):
    """The store is closed or closing."""
