"""Signatures that clouds ask for, against their own published examples, and keys that are none."""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from dataclasses import replace
from urllib.parse import parse_qs, unquote

import pytest

from providers import PROVIDERS
from providers.aws_signature import Keys, authorization
from providers.contract import Misconfigured, Rejected, Response, Secret
from tests.providers.conftest import requests_of
from tests.providers.targets import ACCOUNT, TARGETS
from tests.providers.test_github_app import EVENT


def test_aws_signature_of_the_example_in_its_documentation() -> None:
    keys = Keys(identity="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", region="us-east-1", service="iam")
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Host": "iam.amazonaws.com", "X-Amz-Date": "20150830T123600Z",
    }  # fmt: skip
    found = authorization(keys, "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", headers=headers, body=b"")
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_first_in_first_out_topic_keeps_the_order_of_an_object_and_drops_doubles() -> None:
    target = replace(TARGETS["awssns"], channel="arn:aws:sns:eu-west-1:123456789012:flux.fifo")
    [one], [two] = (list(requests_of(PROVIDERS["awssns"], EVENT, target)) for _ in range(2))
    form = parse_qs(one.body.decode())
    assert form["MessageDeduplicationId"] == parse_qs(two.body.decode())["MessageDeduplicationId"]
    assert len(form["MessageGroupId"][0]) == 64


def test_event_hub_s_signature_is_of_its_address_and_end() -> None:
    [request] = requests_of(PROVIDERS["azureeventhub"], EVENT, TARGETS["azureeventhub"])
    assert request.url.reveal() == "https://a.servicebus.windows.net/hub/messages"
    fields = dict(part.partition("=")[::2] for part in request.headers["Authorization"].removeprefix("SharedAccessSignature ").split("&"))
    wanted = hmac.new(b"hush", f"{fields['sr']}\n{fields['se']}".encode(), hashlib.sha256).digest()
    assert unquote(fields["sig"]) == b64encode(wanted).decode()
    assert unquote(fields["sr"]) == "https://a.servicebus.windows.net/hub"
    assert int(fields["se"]) == TARGETS["azureeventhub"].now.timestamp() + 600


def test_pub_sub_s_message_holds_the_event_and_the_attributes() -> None:
    exchange, publish = requests_of(
        PROVIDERS["googlepubsub"], EVENT, TARGETS["googlepubsub"], [Response(status=200, headers={}, body=b'{"access_token": "ya29"}')]
    )
    assert parse_qs(exchange.body.decode())["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert publish.url.reveal() == "https://pubsub.googleapis.com/v1/projects/my-project/topics/flux:publish"
    assert publish.headers["Authorization"] == "Bearer ya29"
    [message] = json.loads(publish.body)["messages"]
    assert json.loads(b64decode(message["data"]))["reason"] == "BuildFailed"
    assert message["attributes"] == {"env": "a"}


@pytest.mark.parametrize(
    ("type_", "changes", "words"),
    [
        ("googlepubsub", {"keys": {"token": Secret("hush")}}, "JSON key"),
        ("googlepubsub", {"keys": {"token": Secret(json.dumps(json.loads(ACCOUNT) | {"private_key": "hush"}))}}, "not an RSA key"),
        ("googlepubsub", {"keys": {"token": Secret(json.dumps(json.loads(ACCOUNT) | {"token_uri": "http://hush"}))}}, "https"),
        ("googlepubsub", {"channel": "a/../b"}, "names alone"),
        ("azureeventhub", {"address": Secret("Endpoint=sb://hush/")}, "connection string"),
        ("azureeventhub", {"address": Secret("hub")}, "no credentials"),
        ("azureeventhub", {"address": Secret("hub/x"), "token": Secret("hush"), "channel": "ns"}, "not a name"),
        ("awssns", {"channel": "arn:aws:sqs:eu-west-1:123456789012:flux"}, "ARN"),
        ("awssns", {"keys": {"accessKeyID": Secret("hush")}}, "secretAccessKey"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_shown(type_: str, changes: dict[str, object], words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        list(requests_of(PROVIDERS[type_], EVENT, replace(TARGETS[type_], **changes)))  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)


def test_google_that_gives_no_token_is_told() -> None:
    with pytest.raises(Rejected, match="no token"):
        list(requests_of(PROVIDERS["googlepubsub"], EVENT, TARGETS["googlepubsub"], [Response(status=200, headers={}, body=b"{}")]))
