"""A GitHub App's key becomes a token: which requests that takes, and what is wrong with a key."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_other_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers import PROVIDERS
from providers.contract import Misconfigured, Rejected, Response, Secret, Target
from providers.github_app import app_proof
from tests.providers.conftest import event_of, requests_of

KEY = generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
OTHER = generate_other_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVENT = event_of(
    {
        "kind": "Kustomization", "namespace": "apps", "name": "web", "severity": "error", "reason": "BuildFailed", "message": "",
        "timestamp": NOW.isoformat(), "metadata": {"revision": "a" * 40, "change_request": "7"},
    }
)  # fmt: skip


def app(**keys: str) -> Target:
    held = {"githubAppID": "17", "githubAppPrivateKey": PEM} | keys
    return Target(
        address=Secret("https://github.com/org/fleet"), keys={name: Secret(text) for name, text in held.items() if text}, now=NOW, uid="p"
    )


def answer(body: object) -> Response:
    return Response(status=200, headers={}, body=json.dumps(body).encode())


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_proof_is_signed_and_good_for_ten_minutes_at_most() -> None:
    head, body, signature = app_proof(app()).split(".")
    KEY.public_key().verify(decoded(signature), f"{head}.{body}".encode(), PKCS1v15(), hashes.SHA256())
    claims = json.loads(decoded(body))
    assert claims["iss"] == "17"
    assert claims["iat"] < NOW.timestamp() < claims["exp"]
    assert claims["exp"] - claims["iat"] <= 600


def test_installation_s_token_is_what_the_status_is_set_with() -> None:
    target = app(githubAppInstallationID="42")
    exchange, look, put = requests_of(PROVIDERS["github"], EVENT, target, [answer({"token": "ghs_1"}), answer([]), answer({})])
    assert (exchange.method, exchange.url.reveal()) == ("POST", "https://api.github.com/app/installations/42/access_tokens")
    assert exchange.headers["Authorization"].count(".") == 2
    assert [each.headers["Authorization"] for each in (look, put)] == ["Bearer ghs_1"] * 2


def test_installation_that_is_not_given_is_asked_for() -> None:
    answers = [answer({"id": 42}), answer({"token": "ghs_1"}), answer({})]
    found, exchange, sent = requests_of(PROVIDERS["githubdispatch"], EVENT, app(githubAppBaseURL="https://ghe.example/api/v3/"), answers)
    assert found.url.reveal() == "https://ghe.example/api/v3/repos/org/fleet/installation"
    assert exchange.url.reveal() == "https://ghe.example/api/v3/app/installations/42/access_tokens"
    assert sent.headers["Authorization"] == "Bearer ghs_1"


def test_installation_is_found_by_the_owner_that_is_named() -> None:
    missing = Response(status=404, headers={}, body=b"{}")
    answers = [missing, answer({"id": 42}), answer({"token": "ghs_1"}), answer({})]
    found = requests_of(PROVIDERS["githubdispatch"], EVENT, app(githubAppInstallationOwner="ann"), answers)
    assert [each.url.reveal().removeprefix("https://api.github.com/") for each in found] == [
        "orgs/ann/installation", "users/ann/installation", "app/installations/42/access_tokens", "repos/org/fleet/dispatches",
    ]  # fmt: skip
    with pytest.raises(Misconfigured, match="not installed there"):
        list(requests_of(PROVIDERS["github"], EVENT, app(), [missing]))


@pytest.mark.parametrize(
    ("address", "api"),
    [
        ("https://github.com/org/fleet.git", "https://api.github.com"),
        ("git@github.com:org/fleet.git", "https://api.github.com"),
        ("ssh://git@ssh.github.com:443/org/fleet", "https://api.github.com"),
        ("https://acme.ghe.com/org/fleet", "https://api.acme.ghe.com"),
        ("https://git.example.com:8443/org/fleet", "https://git.example.com:8443/api/v3"),
    ],
)
def test_address_of_the_api(address: str, api: str) -> None:
    [sent] = requests_of(PROVIDERS["githubdispatch"], EVENT, Target(address=Secret(address), token=Secret("t")))
    assert sent.url.reveal() == f"{api}/repos/org/fleet/dispatches"


def test_comment_of_an_app_is_found_by_its_own_name() -> None:
    marker = "<!-- flux-pr-comment-key:p/Kustomization/apps/web -->"
    comments = [{"id": 1, "user": {"login": "ann"}, "body": marker}, {"id": 2, "user": {"login": "sluice[bot]"}, "body": marker}]
    answers = [answer({"token": "ghs_1"}), answer({"slug": "sluice"}), answer(comments), answer({})]
    *_, edit = requests_of(PROVIDERS["githubpullrequestcomment"], EVENT, app(githubAppInstallationID="42"), answers)
    assert (edit.method, edit.url.reveal()) == ("PATCH", "https://api.github.com/repos/org/fleet/issues/comments/2")


def test_comment_is_looked_for_on_the_next_page() -> None:
    page = [{"id": number, "user": {"login": "ann"}, "body": "x"} for number in range(50)]
    target = Target(address=Secret("https://github.com/org/fleet"), token=Secret("t"), uid="p")
    requests = list(requests_of(PROVIDERS["githubpullrequestcomment"], EVENT, target, [answer({"login": "me"}), answer(page), answer([])]))
    assert [each.url.reveal().rpartition("/")[2] for each in requests[1:3]] == [
        "comments?per_page=50&page=1",
        "comments?per_page=50&page=2",
    ]
    assert requests[-1].method == "POST"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"githubAppPrivateKey": "hush"}, "not an RSA key"),
        ({"githubAppPrivateKey": ""}, "the App has no key"),
        ({"githubAppID": ""}, "the App has no number"),
        ({"githubAppPrivateKey": OTHER}, "not an RSA key"),
        ({"githubAppInstallationID": "hush"}, "not a number"),
    ],
)
def test_key_that_cannot_be_used_is_named_and_not_shown(keys: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        list(requests_of(PROVIDERS["github"], EVENT, app(**keys)))
    assert "hush" not in str(caught.value)


def test_answer_without_a_token_is_refused() -> None:
    with pytest.raises(Rejected, match="no token for the App"):
        list(requests_of(PROVIDERS["github"], EVENT, app(githubAppInstallationID="42"), [answer({"token": "a\r\nb"})]))
