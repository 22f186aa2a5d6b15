"""Bitbucket, both products: Cloud, and Server (Data Center).

Set up: the repository's Repository settings > Webhooks; the Receiver's token as the secret; the trigger "Push" ("Repository: Push").
Proof: `X-Hub-Signature`: an HMAC-SHA256 of the body with the token.
Tells: repository, and each ref that moved with its commits; no changed files.
https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/ and
https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
"""

from collections.abc import Mapping

from receivers.commits import commit_id
from receivers.contract import BadSignature, Credentials, Delivery, Event, GitPush, Ping, Sender, Verifier
from receivers.payload import Json, flag, length_of, parse, text, text_or
from receivers.signature import hmac_of

CLOUD = "https://bitbucket.org"
MOST_REFS = 200  # of one push: more are as good as not told


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-Hub-Signature-256`, else of `X-Hub-Signature`, as Flux does. Raises BadSignature."""
    if "x-hub-signature-256" in headers:
        return hmac_of(headers["x-hub-signature-256"], credentials, algorithms=("sha256",))
    if "x-hub-signature" in headers:
        return hmac_of(headers["x-hub-signature"], credentials, algorithms=("sha256", "sha1", "sha512"))
    raise BadSignature("X-Hub-Signature is missing: set the Receiver's token as the secret of the hook at Bitbucket")


def name(headers: Mapping[str, str]) -> str:
    """Return the event's name: `repo:push` of Cloud, `repo:refs_changed` of Server."""
    return headers.get("x-event-key", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id of the request."""
    return headers.get("x-request-uuid") or headers.get("x-request-id", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return a GitPush for each ref that moved, () for other events and where no repository is named. Raises BadPayload."""
    payload = parse(delivery.body)
    match name(delivery.headers).lower():
        case "repo:push":
            return _cloud(payload)
        case "repo:refs_changed" | "mirror:repo_synchronized":
            return _server(payload)
        case "diagnostics:ping":
            return (Ping(),)
        case _:
            return ()


def _cloud(payload: Json) -> tuple[Event, ...]:
    found = {text_or(payload, "repository", "links", "html", "href"), f"{CLOUD}/{text(payload, 'repository', 'full_name')}"}
    urls = tuple(sorted(found - {""}))
    count = length_of(payload, "push", "changes") or 0
    return tuple(_cloud_change(payload, number, urls) for number in range(count)) if count <= MOST_REFS else ()


def _cloud_change(payload: Json, number: int, urls: tuple[str, ...]) -> GitPush:
    change = ("push", "changes", number)
    is_there = bool(text_or(payload, *change, "new", "name"))
    side = "new" if is_there else "old"
    folder = "tags" if text_or(payload, *change, side, "type") in ("tag", "annotated_tag") else "heads"
    return GitPush(
        urls=urls,
        ref=f"refs/{folder}/{text(payload, *change, side, 'name')}",
        before=_hash(payload, *change, "old"),
        after=_hash(payload, *change, "new"),
        deleted=not is_there,
        forced=flag(payload, *change, "forced"),
    )


def _hash(payload: Json, *change: str | int) -> str:
    return commit_id(payload, *change, "target", "hash") if text_or(payload, *change, "name") else ""


def _server(payload: Json) -> tuple[Event, ...]:
    clones = length_of(payload, "repository", "links", "clone") or 0
    urls = tuple(text(payload, "repository", "links", "clone", number, "href") for number in range(min(clones, 8)))
    count = length_of(payload, "changes") or 0
    if not urls or count > MOST_REFS:
        return ()
    return tuple(_server_change(payload, number, urls) for number in range(count))


def _server_change(payload: Json, number: int, urls: tuple[str, ...]) -> GitPush:
    change = ("changes", number)
    after = commit_id(payload, *change, "toHash")
    return GitPush(
        urls=urls,
        ref=text_or(payload, *change, "ref", "id") or text(payload, *change, "refId"),
        before=commit_id(payload, *change, "fromHash"),
        after=after,
        deleted=not after or text_or(payload, *change, "type") == "DELETE",
    )


BITBUCKET = Sender(type="bitbucket", verifier=verifier, read=read, name=name, delivery_id=delivery_id)
