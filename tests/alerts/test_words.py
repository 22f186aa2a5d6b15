"""The words of templates in every type: people read them, programs get the event as it is, and a dry run shows both."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from providers import PROVIDERS
from providers.contract import Event, Target
from service.alerts.bundles import composed
from service.alerts.mutes import Mute
from service.alerts.rehearsal import Rehearsed, rehearse
from service.alerts.trial import trial
from service.state import moments
from tests.alerts.conftest import Slack, World, alert, event, provider
from tests.providers.targets import TARGETS

PREFIX = "notification.sluice.dev/"
WORDS = {"title": "Oh dear {{ object.name }}", "text": "It says {{ event.message }}", "fields": "Team: red"}
READ = [name for name, line in PROVIDERS.items() if line.wants == "news" and not line.verbatim]
ADDRESSES = {"apprise": "json://127.0.0.1", "nats": "nats://127.0.0.1", "kafka": "kafka://127.0.0.1"}


async def nothing(*_: Any) -> Mapping[str, Any]:
    return {}


async def rehearsed(type_: str, **annotations: str) -> Rehearsed:
    told = alert()
    told["metadata"]["annotations"] = {f"{PREFIX}{name}": text for name, text in (WORDS | annotations).items()}
    broken = event("it failed", severity="error", reason="BuildFailed")
    return await rehearse(provider(type=type_), told, broken, read_config=nothing, read_labels=nothing)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worded() -> Event:
    """Rendered once: it takes a process."""
    found = await rehearsed("slack")
    assert found.event is not None
    assert found.notes == ()
    return found.event


async def shown(type_: str, told: Event) -> str:
    target = TARGETS.get(type_, Target())
    given = {"address": target.address, "token": target.token, "password": target.password}
    secret = {key: value.reveal().encode() for key, value in given.items() if value} | ({"username": b"me"} if target.password else {})
    secret |= {key: value.reveal().encode() for key, value in target.keys.items()}

    async def read(_namespace: str, _name: str) -> Mapping[str, bytes]:
        return secret

    address = ADDRESSES.get(type_, "" if target.address else "https://a.example")
    raw = provider(type=type_, channel=target.channel or "flux", secretRef={"name": "s"}, **({"address": address} if address else {}))
    return re.sub(r"\\{1,2}(?=[^nu\"])|\+", " ", "\n".join(await trial(raw, read, told, dry_run=True))).replace("  ", " ")


@pytest.mark.parametrize("type_", READ)
async def test_dry_run_shows_the_words_in_each_type_that_people_read(type_: str, worded: Event) -> None:
    found = await shown(type_, worded)
    assert found.count("Oh dear web") >= 1
    assert "It says it failed" in found
    assert "red" in found


@pytest.mark.parametrize("type_", ["kafka", "githubdispatch", "generic"])
async def test_programs_get_the_event_as_it_is_and_that_is_told(type_: str) -> None:
    found = await rehearsed(type_, digest="1h", mention="error=@here")
    assert found.event is not None
    assert (found.event.message, found.event.title) == ("it failed", "")
    [note] = found.notes
    assert all(f"{PREFIX}{name}" in note for name in (*WORDS, "digest", "mention"))
    assert "has no effect with the Provider's type" in note


async def test_mute_of_what_programs_read_is_told_and_costs_nothing(world: World, slack: Slack) -> None:
    muted = alert()
    until = moments.now() + timedelta(hours=1)
    muted["metadata"]["annotations"] = {f"{PREFIX}mute": Mute(until=until, by="ann", reason="night").to_text()}
    world.put(muted, provider(type="generic", address=slack.address))
    async with world.running():
        await world.tell(event("for a program"))
        await world.settled(sent=1)
    assert slack.got[0]["message"] == "for a program"
    assert f"{PREFIX}mute: has no effect" in world.warnings[0].message


def test_what_stands_for_several_objects_has_no_title_of_one() -> None:
    def payload(name: str) -> str:
        told = {"kind": "Kustomization", "namespace": "apps", "name": name, "severity": "info", "reason": "Done", "message": "well"}
        return json.dumps(told | {"metadata": {}, "recovery_only": False, "title": f"Oh dear {name}"})

    together, alone = json.loads(composed([payload("a"), payload("b")])), json.loads(composed([payload("a"), payload("a")]))
    assert (together["title"], alone["title"]) == ("", "Oh dear a")
    assert "2 messages about 2 objects" in together["message"]
