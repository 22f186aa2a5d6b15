"""The name of a commit's status, out of a Provider's own expression."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from providers.contract import Event, Misconfigured
from service.alerts.statusid import status_id
from service.cel import BadExpression, Evaluator
from tests.alerts.conftest import World, alert, event, provider
from tests.alerts.test_sending import EVENT
from tests.alerts.test_targets import SHA, Forge, forge

__all__ = ["forge"]
PROVIDER = {"metadata": {"name": "status", "namespace": "apps", "uid": "0c9c2e41-d2f9-4f9b-9c41-bebc1984d67a"}, "spec": {"type": "github"}}
ALERT = {"metadata": {"name": "all", "labels": {"env": "prod"}}, "spec": {"eventMetadata": {"env": "staging"}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evaluator() -> AsyncIterator[Evaluator]:
    made = Evaluator()
    yield made
    await made.close()


async def named(evaluator: Evaluator, source: str, told: Event = EVENT) -> str:
    values: dict[str, Any] = {"provider": PROVIDER, "alert": ALERT}
    return await status_id(source, told, evaluator=evaluator, **values)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("source", "name"),
    [
        (
            "(event.involvedObject.kind + '/' + event.involvedObject.name + '/' + provider.metadata.uid.split('-')[0]).lowerAscii()",
            "kustomization/web/0c9c2e41",
        ),
        ("event.involvedObject.kind + '/' + alert.metadata.labels.env", "Kustomization/prod"),
        ("'env' in alert.spec.eventMetadata ? alert.spec.eventMetadata.env : 'none'", "staging"),
    ],
)
async def test_expression_over_the_three_variables(evaluator: Evaluator, source: str, name: str) -> None:
    assert await named(evaluator, source) == name


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("event.metadata.env", Misconfigured, "no such key"),
        ("' '", Misconfigured, "an empty text"),
        ("1 + 1", Misconfigured, "as string"),
        ("secret.token", BadExpression, "undeclared reference"),
    ],
)
async def test_expression_that_gives_no_name_says_why(evaluator: Evaluator, source: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        await named(evaluator, source)


async def test_status_is_set_under_the_name(world: World, forge: Forge) -> None:
    world.secrets["apps", "token"] = {"token": b"ghp"}
    expression = "alert.metadata.name + ' on ' + event.metadata.cluster + ': ' + event.involvedObject.name"
    address = str(forge.server.make_url("/org/fleet"))
    world.put(alert(eventMetadata={"cluster": "prod"}))
    world.put(provider(type="github", address=address, secretRef={"name": "token"}, commitStatusExpr=expression))
    async with world.running():
        await world.tell(event("applied", metadata={"kustomize.toolkit.fluxcd.io/revision": f"main@sha1:{SHA}"}))
        await world.settled(sent=1)
    assert [each["context"] for each in forge.statuses] == ["on-call on prod: web"]
