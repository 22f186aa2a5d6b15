"""AWS, through SNS: objects of S3, pushes to CodeCommit, and what EventBridge sends to a topic.

Set up: a topic that the bucket's event notifications, the repository's triggers or an EventBridge rule send to, and a subscription with the
protocol HTTPS to the Receiver's address, raw message delivery off. The Receiver's Secret holds beside `token` (which makes the path) the
topic's ARN as `topic`. The subscription is confirmed by itself.
Proof: the message's `Signature` (versions 1 and 2) by a certificate of SNS, for that topic. Certificates are fetched in the background,
from sns.*.amazonaws.com alone; until one is there a message is answered 503, and SNS sends it again.
Tells: bucket and key; repository, ref and commits; image, tag and digest.
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from collections.abc import Mapping
from urllib.parse import unquote_plus

from receivers import eventbridge
from receivers.contract import (
    BadPayload,
    BadSignature,
    BucketChange,
    Confirmation,
    Credentials,
    Delivery,
    Event,
    GitPush,
    Ping,
    Sender,
    Verifier,
)
from receivers.payload import Json, length_of, long_text, parse, text, text_or
from receivers.snsmessage import MessageVerifier, confirmation

MOST_RECORDS = 200  # of one message: more are as good as not told


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of a message. Raises BadSignature."""
    if headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        raise BadSignature("the message is not signed: turn raw message delivery off in the subscription")
    if "x-amz-sns-message-type" not in headers:
        raise BadSignature("X-Amz-Sns-Message-Type is missing: this is not SNS; its topic and the Secret's token and topic belong together")
    if not credentials.audience:
        raise BadSignature("the Secret's key topic is empty, so nothing proves where a message comes from")
    return MessageVerifier(credentials)


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the message's id."""
    return headers.get("x-amz-sns-message-id", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return what the message says, a Confirmation for a new subscription, () for what is not known. Raises BadPayload."""
    message = parse(delivery.body)
    if text(message, "Type") == "SubscriptionConfirmation":
        return (Confirmation(url=confirmation(text(message, "SubscribeURL"), text(message, "TopicArn"))),)
    if text(message, "Type") != "Notification" or not long_text(message, "Message").lstrip().startswith("{"):
        return ()
    told = parse(long_text(message, "Message").encode())
    if text_or(told, "Event") == "s3:TestEvent":
        return (Ping(),)
    if "Records" not in told:
        return eventbridge.events_of(told) if "source" in told else ()
    count = length_of(told, "Records") or 0
    return tuple(event for number in range(count) for event in _record(told, number)) if count <= MOST_RECORDS else ()


def _record(told: Json, number: int) -> tuple[Event, ...]:
    at = ("Records", number)
    match text_or(told, *at, "eventSource"):
        case "aws:s3":
            key = unquote_plus(text_or(told, *at, "s3", "object", "key"))
            deleted = text_or(told, *at, "eventName").startswith(("ObjectRemoved:", "LifecycleExpiration:"))
            return (BucketChange(bucket=text(told, *at, "s3", "bucket", "name"), key=key, deleted=deleted),)
        case "aws:codecommit":
            return _pushes(told, number)
        case _:
            return ()


def _pushes(told: Json, number: int) -> tuple[Event, ...]:
    at = ("Records", number)
    count = length_of(told, *at, "codecommit", "references") or 0
    parts = text(told, *at, "eventSourceARN").split(":")
    if len(parts) != 6:
        raise BadPayload(f"Records.{number}.eventSourceARN", "not the name of a repository")
    urls = eventbridge.repository_urls(parts[3], parts[5])
    found = []
    for each in range(count if count <= MOST_RECORDS else 0):
        reference = (*at, "codecommit", "references", each)
        deleted = _flag(told, *reference, "deleted")
        after = "" if deleted else text_or(told, *reference, "commit")
        found.append(GitPush(urls=urls, ref=text(told, *reference, "ref"), after=after, deleted=deleted))
    return tuple(found)


def _flag(told: Json, *path: str | int) -> bool:
    """CodeCommit has written truth values as text too."""
    try:
        return text_or(told, *path).lower() == "true"
    except BadPayload:
        return True


SNS = Sender(type="sns", verifier=verifier, read=read, delivery_id=delivery_id, needs_topic=True)
