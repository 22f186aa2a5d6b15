"""What can go wrong with the state folder, by consequence; every message says what to do next."""


class StateError(Exception):
    """The state folder cannot be used for this."""


class StateLocked(StateError):
    """Another process uses the folder."""


class StateTooNew(StateError):
    """A newer version wrote the folder."""


class StateBusy(StateError):
    """More is waiting to be written than is allowed; nothing was stored, the sender should try again."""


class StateUnwritable(StateError):
    """The disk refused: full, read-only or failing. Nothing was stored, the sender should try again."""


class StateClosed(StateError):
    """The store is closed or closing."""
