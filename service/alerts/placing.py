"""A dialogue with a target whose messages are changed later: its requests are answered, its notes are kept.

In: what a provider's `place` asks, step by step. Out: nothing, or Rejected or Busy. A note is on disk before the next request is made.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from providers.contract import Placing, Recall, Remember, Reply, Request, Response, Step
from service import crash
from service.kinds.meta import ObjectKey
from service.state.notes import Notes

Follow = Callable[[Placing, Reply], Step | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A Provider's notes."""

    notes: Notes
    provider: ObjectKey

    async def recall(self, name: str) -> str | None:
        """The note under a name."""
        return await self.notes.recall(self.provider, name)

    async def remember(self, notes: Mapping[str, str | None]) -> None:
        """Keep notes."""
        await self.notes.remember(self.provider, notes)


async def place(placing: Placing, memory: Memory, follow: Follow, answer: Callable[[Request], Awaitable[Response]]) -> None:
    """Take every step in turn. Raises what `follow` and `answer` raise, and StateError."""
    step = follow(placing, None)
    while step is not None:
        reply: Reply = None
        match step:
            case Request():
                reply = await answer(step)
                crash.point("place.answered")
            case Recall():
                reply = await memory.recall(step.name)
            case Remember():
                await memory.remember(step.notes)
                crash.point("place.noted")
        step = follow(placing, reply)
