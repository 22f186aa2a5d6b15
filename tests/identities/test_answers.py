"""Whatever a cloud answers, a dialogue ends with credentials that can be sent, or with words."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.contract import Busy, Identity, Rejected, Response, Secret
from providers.identity import Grant
from service.identities.remotes import User, Way, to_bucket_keys, to_bucket_token, to_dev_ops, to_registry
from tests.identities.clouds import ANNOTATIONS, REGISTRY

IDENTITY = Identity(token=Secret("e.signed.J"), annotations=ANNOTATIONS)
KEYS = (
    b"<AccessKeyId>ASIAEXAMPLEEXAMPLE12</AccessKeyId><SecretAccessKey>wJalrXUtnFEMI/K7MDENG+bPx</SecretAccessKey>"
    b"<SessionToken>FwoGZXIvYXdzEXAMPLE==</SessionToken>"
)
WAYS: dict[str, Way[Any]] = {
    "ecr": to_registry("aws", REGISTRY, lambda: datetime(2026, 11, 21, tzinfo=UTC)),
    "acr": to_registry("azure", "fleet.azurecr.io", lambda: datetime.now(UTC)),
    "gar": to_registry("gcp", "eu.gcr.io", lambda: datetime.now(UTC)),
    "devops": to_dev_ops("https://dev.azure.com/a/b/_git/c"),
    "s3": to_bucket_keys("s3.amazonaws.com", "eu-west-1"),
    "gcs": to_bucket_token("gcp"),
}
NAMES = st.sampled_from(["access_token", "accessToken", "refresh_token", "expires_in", "authorizationData", "authorizationToken"])
JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["ya29", "3600", base64.b64encode(b"AWS:p").decode()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | JSON.map(lambda found: json.dumps(found).encode()) | st.just(KEYS) | st.just(b'{"access_token": "ya29"}')


def ended(way: Way[Any], answers: list[tuple[int, bytes]]) -> Grant[Any] | str:
    """What the dialogue returns, or its last words."""
    dialogue = way.exchange(IDENTITY)
    next(dialogue)
    for status, body in answers:
        try:
            dialogue.send(Response(status=status, headers={}, body=body))
        except StopIteration as end:
            found: Grant[Any] = end.value
            return found
        except (Rejected, Busy) as error:
            return str(error)
    return "it goes on"


def texts_of(value: Any) -> list[str]:
    if isinstance(value, User):
        return [value.name, value.password]
    return [each.reveal() for each in value.values()] if isinstance(value, dict) else [value]


@pytest.mark.parametrize("name", WAYS)
@settings(deadline=None)
@given(answers=st.lists(st.tuples(st.sampled_from([200, 200, 200, 302, 400, 401, 403, 500]), BODIES), min_size=3, max_size=3))
def test_any_answer_ends_well(name: str, answers: list[tuple[int, bytes]]) -> None:
    found = ended(WAYS[name], answers)
    if isinstance(found, str):
        assert "e.signed.J" not in found
        return
    assert timedelta(0) <= found.valid <= timedelta(days=1)
    assert all(text and text.isascii() and text.isprintable() for text in texts_of(found.value))


def test_answers_of_the_clouds_are_understood() -> None:
    login = base64.b64encode(b"AWS:p:w").decode()
    grant = ended(WAYS["ecr"], [(200, KEYS), (200, json.dumps({"authorizationData": [{"authorizationToken": login}]}).encode())])
    assert isinstance(grant, Grant)
    assert (grant.value.name, grant.value.password) == ("AWS", "p:w")
    assert "p:w" not in repr(grant)
    grant = ended(WAYS["gcs"], [(200, b'{"access_token": "ya29", "expires_in": 3599}')])
    assert isinstance(grant, Grant)
    assert (grant.value, grant.valid) == ("ya29", timedelta(seconds=3599))
