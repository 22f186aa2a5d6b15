"""The words for where a live object stands, as kstatus has them."""

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """kstatus' words for where an object stands."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Where an object stands, and why in one line."""

    status: Status
    message: str
