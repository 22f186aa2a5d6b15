"""A ServiceAccount's token in the place of credentials: what each cloud is asked, and what is done with its answer."""

import json
from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from providers import PROVIDERS
from providers.contract import Busy, Event, Identity, Misconfigured, Rejected, Request, Response, Secret, Target
from providers.identity import audience
from tests.providers.conftest import requests_of
from tests.providers.targets import NOW
from tests.providers.test_github_app import EVENT

POOL = "projects/123/locations/global/workloadIdentityPools/cluster/providers/k8s"
AZURE = {
    "azure.workload.identity/client-id": "00000000-0000-4000-8000-000000000001",
    "azure.workload.identity/tenant-id": "00000000-0000-4000-8000-000000000002",
}
GOOGLE = {"gcp.auth.fluxcd.io/workload-identity-provider": POOL}
ACCOUNT = {"iam.gke.io/gcp-service-account": "alerts@my-project.iam.gserviceaccount.com"}
AWS = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/alerts"}
PLACES = {
    "azureeventhub": Target(address=Secret("hub"), channel="events"),
    "azuredevops": Target(address=Secret("https://dev.azure.com/org/project/_git/fleet"), uid="p-1"),
    "googlepubsub": Target(address=Secret("my-project"), channel="flux"),
    "awssns": Target(channel="arn:aws:sns:eu-west-1:123456789012:flux"),
}
KEYS = (
    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAEXAMPLEEXAMPLE12</AccessKeyId>"
    "<SecretAccessKey>wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE</SecretAccessKey><SessionToken>FwoGZXIvYXdzEXAMPLE==</SessionToken>"
    "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
)


def said(body: object) -> Response:
    return Response(status=200, headers={}, body=(body if isinstance(body, str) else json.dumps(body)).encode())


def asked(type_: str, annotations: dict[str, str], *answers: Response, event: Event = EVENT) -> list[Request]:
    """The requests of the exchange, and then those with what it has led to."""
    target, given = replace(PLACES[type_], now=NOW), iter(answers)
    exchange = PROVIDERS[type_].exchange
    assert exchange is not None
    dialogue = exchange(Identity(token=Secret("e.signed.J"), annotations=annotations), target)
    requests = [next(dialogue)]
    while True:
        try:
            requests.append(dialogue.send(next(given, Response(status=200, headers={}, body=b"{}"))))
        except StopIteration as end:
            lent = end.value.value
            break
    held = {"token": Secret(lent)} if isinstance(lent, str) else {"keys": lent}
    return [*requests, *requests_of(PROVIDERS[type_], event, replace(target, granted=True, **held), tuple(given))]


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def test_azure_gives_a_token_for_event_hubs() -> None:
    exchange, sent = asked("azureeventhub", AZURE, said({"access_token": "entra"}))
    tenant = AZURE["azure.workload.identity/tenant-id"]
    assert exchange.url.reveal() == f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    given = form(exchange)
    assert (given["client_assertion"], given["client_id"]) == ("e.signed.J", AZURE["azure.workload.identity/client-id"])
    assert given["scope"] == "https://eventhubs.azure.net/.default"
    assert sent.url.reveal() == "https://events.servicebus.windows.net/hub/messages"
    assert sent.headers["Authorization"] == "Bearer entra"


def test_azure_devops_gets_a_bearer_token() -> None:
    exchange, look, put = asked("azuredevops", AZURE, said({"access_token": "entra"}), said({"value": []}))
    assert form(exchange)["scope"] == "499b84ac-1321-427f-aa17-267ca6975798/.default"
    assert [each.headers["Authorization"] for each in (look, put)] == ["Bearer entra"] * 2


def test_google_gives_a_token_of_the_pool_or_of_the_account_that_is_named() -> None:
    exchange, sent = asked("googlepubsub", GOOGLE, said({"access_token": "federated"}))
    assert exchange.url.reveal() == "https://sts.googleapis.com/v1/token"
    assert (form(exchange)["audience"], form(exchange)["subject_token"]) == (f"//iam.googleapis.com/{POOL}", "e.signed.J")
    assert sent.headers["Authorization"] == "Bearer federated"
    answers = (said({"access_token": "federated"}), said({"accessToken": "of the account"}))
    _, act, sent = asked("googlepubsub", GOOGLE | ACCOUNT, *answers)
    assert act.url.reveal().endswith("/serviceAccounts/alerts@my-project.iam.gserviceaccount.com:generateAccessToken")
    assert act.headers["Authorization"] == "Bearer federated"
    assert sent.headers["Authorization"] == "Bearer of the account"


def test_aws_gives_keys_of_the_role_that_sign_the_message() -> None:
    exchange, sent = asked("awssns", AWS, said(KEYS))
    assert exchange.url.reveal() == "https://sts.eu-west-1.amazonaws.com/"
    assert (form(exchange)["RoleArn"], form(exchange)["WebIdentityToken"]) == (AWS["eks.amazonaws.com/role-arn"], "e.signed.J")
    assert "Credential=ASIAEXAMPLEEXAMPLE12/20261121/eu-west-1/sns/" in sent.headers["Authorization"]
    assert sent.headers["X-Amz-Security-Token"] == "FwoGZXIvYXdzEXAMPLE=="


@pytest.mark.parametrize(
    ("type_", "annotations", "words"),
    [
        ("azureeventhub", {}, "azure.workload.identity/tenant-id is missing"),
        ("azureeventhub", AZURE | {"azure.workload.identity/tenant-id": "../../hush"}, "tenant-id is missing, or not of its form"),
        ("googlepubsub", ACCOUNT, "workload-identity-provider is missing"),
        ("googlepubsub", {"gcp.auth.fluxcd.io/workload-identity-provider": "//hush"}, "not of its form"),
        ("awssns", {"eks.amazonaws.com/role-arn": "hush"}, "not of its form"),
    ],
)
def test_annotation_that_is_missing_is_named(type_: str, annotations: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        asked(type_, annotations)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "annotations", "answer", "error"),
    [
        ("azureeventhub", AZURE, Response(status=401, headers={}, body=b"{}"), Rejected),
        ("azureeventhub", AZURE, said({"access_token": "a\r\nb"}), Rejected),
        ("googlepubsub", GOOGLE, Response(status=503, headers={}, body=b""), Busy),
        ("googlepubsub", GOOGLE, said([]), Rejected),
        ("awssns", AWS, Response(status=403, headers={}, body=b"<Error/>"), Rejected),
        ("awssns", AWS, said("<AccessKeyId>ASIAEXAMPLEEXAMPLE12</AccessKeyId>"), Rejected),
    ],
)
def test_exchange_that_fails_is_told(type_: str, annotations: dict[str, str], answer: Response, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        asked(type_, annotations, answer)
    assert "e.signed.J" not in str(caught.value)


def test_audience_is_the_cloud_s() -> None:
    assert audience("azure", {}) == "api://AzureADTokenExchange"
    assert audience("aws", {}) == "sts.amazonaws.com"
    assert audience("gcp", GOOGLE) == f"//iam.googleapis.com/{POOL}"
    with pytest.raises(Misconfigured):
        audience("gcp", {})
