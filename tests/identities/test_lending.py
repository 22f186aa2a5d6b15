"""Providers of alerts that act as ServiceAccounts, on stand-ins of the clouds: what is lent is kept, and nobody gets another's."""

from dataclasses import replace

import pytest

from providers import PROVIDERS
from providers.contract import Secret, Target
from service.alerts.lending import lent, wanted_of
from service.alerts.route import Route
from service.identities.grants import Grants, NotGranted
from service.kinds.codec import decode
from service.kinds.notification import Provider
from tests.alerts.conftest import provider
from tests.identities.clouds import KEY_ID, Clouds
from tests.identities.conftest import Api

Sky = tuple[Clouds, int]
PLACES = {
    "awssns": Target(channel="arn:aws:sns:eu-west-1:123456789012:flux"),
    "azureeventhub": Target(address=Secret("hub"), channel="events"),
    "azuredevops": Target(address=Secret("https://dev.azure.com/org/project/_git/fleet")),
    "googlepubsub": Target(address=Secret("my-project"), channel="flux"),
}


async def routed(grants: Grants, type_: str, *, namespace: str = "apps", account: str = "fetch", **place: str) -> Route:
    of = decode(Provider, provider(namespace=namespace, type=type_, serviceAccountName=account))
    route, by_type = Route(target=replace(PLACES[type_], **place)), PROVIDERS[type_]
    return await lent(wanted_of(of, by_type, route), by_type, route, grants)


@pytest.mark.parametrize("type_", PLACES)
async def test_what_is_lent_is_kept_for_the_next_messages(grants: Grants, sky: Sky, api: Api, type_: str) -> None:
    first = await routed(grants, type_)
    assert first.target.granted
    asked, signed = len(sky[0].asked), len(api.asked)
    assert asked > 0
    again = await routed(grants, type_)
    assert (again.target.token, again.target.keys) == (first.target.token, first.target.keys)
    assert (len(sky[0].asked), len(api.asked)) == (asked, signed)
    assert bool(first.target.token) != bool(first.target.keys)
    for secret in (first.target.token, *first.target.keys.values()):
        assert not secret or "***" in first.masked(f"it said {secret.reveal()}")


async def test_nobody_gets_what_is_lent_to_another(grants: Grants, sky: Sky, api: Api) -> None:
    await routed(grants, "awssns")
    for other in ({"namespace": "other"}, {"account": "other"}):
        with pytest.raises(NotGranted, match="does not exist") as caught:
            await routed(grants, "awssns", **other)
        assert caught.value.lasting
    asked = len(sky[0].asked)
    await routed(grants, "awssns", channel="arn:aws:sns:us-east-1:123456789012:flux")
    assert sky[0].asked[asked:] == ["sts.us-east-1.amazonaws.com/"], "another place has its own"
    api.uid = "u-2"
    asked = len(sky[0].asked)
    await routed(grants, "awssns")
    assert len(sky[0].asked) == asked + 1, "an account that was made again has its own"
    api.annotations = {}
    with pytest.raises(NotGranted, match="role-arn is missing"):
        await routed(grants, "awssns")


async def test_what_was_refused_is_asked_for_anew(grants: Grants, sky: Sky) -> None:
    first = await routed(grants, "awssns")
    assert first.target.keys["accessKeyID"].reveal() == KEY_ID
    asked = len(sky[0].asked)
    of = decode(Provider, provider(type="awssns", serviceAccountName="fetch"))
    wanted = wanted_of(of, PROVIDERS["awssns"], first)
    assert wanted is not None
    grants.doubt(wanted)
    await routed(grants, "awssns")
    assert len(sky[0].asked) == asked + 1


async def test_cloud_without_a_usable_answer_is_no_matter_of_credentials(grants: Grants) -> None:
    with pytest.raises(NotGranted, match="no usable answer") as caught:  # its certificate has another name
        await routed(grants, "awssns", channel="arn:aws:sns:eu-north-1:123456789012:flux")
    assert not caught.value.lasting
