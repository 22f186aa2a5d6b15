"""What replicas tell each other, and what is taken up by whoever is elected."""

import asyncio
from collections.abc import Sequence
from typing import Any

from service.compose.replicas import Replicas, TakingUp, shared_identity
from service.kinds.meta import ObjectKey
from service.state.errors import StateAway
from tests.triggers.scene import key, until

SHOP = key("Kustomization", "shop")


class Bell:
    """Keeps what is rung."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.on_ring: Any = None

    def ring(self, text: str) -> None:
        self.rung.append(text)


def replicas(bell: Any) -> tuple[Replicas, list[object]]:
    made, heard = Replicas(bell), list[object]()
    made.on_delivery, made.on_events = heard.append, lambda: heard.append("events")
    return made, heard


def test_one_alone_is_elected_and_has_nobody_to_tell() -> None:
    made, heard = replicas(None)
    assert made.elected.is_open
    made.tell_of_delivery(7)
    made.events_stored()
    assert heard == ["events"]
    assert made.elsewhere() == ""


def test_who_is_not_elected_tells_who_is() -> None:
    bell = Bell()
    made, heard = replicas(bell)
    assert not made.elected.is_open
    made.tell_of_delivery(7)
    made.events_stored()
    made.elected.open()
    made.events_stored()
    assert bell.rung == ["delivery 7", "events"]
    heard.clear()
    for text in ("delivery 8", "events", "", "delivery", "from a later version"):
        bell.on_ring(text)
    assert heard == [8, "events", 0, "events", 0]


def test_artifacts_are_where_the_elected_one_says() -> None:
    made, _ = replicas(Bell())
    for holder, address in {"": "", "node_1-2-3": "", "10.0.0.7:9090/node_1": "10.0.0.7:9090"}.items():
        made.leader = lambda holder=holder: holder  # type: ignore[misc]
        assert made.elsewhere() == address
    made.elected.open()
    assert made.elsewhere() == ""


def test_all_replicas_of_a_database_hold_leases_by_one_name() -> None:
    assert shared_identity(b"a" * 32) == shared_identity(b"a" * 32) != shared_identity(b"b" * 32)


async def test_what_others_left_is_taken_up_each_time_before_the_gates_open() -> None:
    made, _ = replicas(Bell())
    again: list[ObjectKey] = []
    answers: list[Any] = [StateAway("away"), (SHOP,), ()]

    async def recover() -> Sequence[ObjectKey]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    room = asyncio.create_task(TakingUp(made, recover, again.append).run())
    await asyncio.sleep(0)
    assert not made.is_taken_up.is_set()
    made.elected.open()
    await until(made.is_taken_up.is_set)
    assert again == [SHOP]
    made.elected.shut()
    await until(lambda: not made.is_taken_up.is_set())
    made.elected.open()
    await until(made.is_taken_up.is_set)
    assert answers == []
    room.cancel()
