"""What an apply or a prune did: one entry for each object, in order."""

from dataclasses import dataclass, field
from typing import Literal

from service.cluster.drift import FieldDrift
from service.cluster.inventory import ObjectId
from service.cluster.managed import Stand

Action = Literal["created", "configured", "unchanged", "skipped", "drifted", "deleted"]
"""`drifted`: not as its manifest has it, and left so, as the caller wished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The Kustomization that the objects belong to."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One object and what happened to it (or, in a dry run, would have). str() is Flux's line: `ConfigMap/apps/site created`.

    `stand` is how it stands now, None where it was not looked at; `fields` are those that were (or are, when `drifted`) otherwise.
    """

    object: ObjectId
    action: Action
    stand: Stand | None = field(default=None, compare=False)
    fields: tuple[FieldDrift, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str:
        """The inventory id."""
        return self.object.id

    @property
    def changed(self) -> bool:
        """True when something was written or deleted."""
        return self.action in ("created", "configured", "deleted")

    def __str__(self) -> str:
        return f"{self.object} {self.action}"


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All entries of a run, also those where nothing happened."""

    entries: tuple[Change, ...] = ()

    @property
    def changed(self) -> tuple[Change, ...]:
        """The entries where something happened."""
        return tuple(entry for entry in self.entries if entry.changed)

    def lines(self) -> str:
        """The lines of `changed`, for events and messages; "" when there are none."""
        return "\n".join(map(str, self.changed))

    def __add__(self, other: "ChangeSet") -> "ChangeSet":
        return ChangeSet(self.entries + other.entries)
