"""GitLab: projects, groups and the whole instance (system hooks).

Set up: Settings > Webhooks > Add new webhook; the triggers "Push events" and "Tag push events"; the Receiver's token as the secret token,
or, better, as the signing token (`whsec_...`).
Proof: `webhook-signature`, an HMAC of id, time and body, where the token is a signing token; else `X-Gitlab-Token`, the token itself.
Tells: repository, ref and commits of a push. It lists 20 commits at most and not whether the push was forced, so no changed files.
Images of its container registry come by its own hooks: see `distribution`. https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from collections.abc import Mapping
from datetime import datetime

from receivers.commits import commit_id, urls_of
from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Event, GitPush, Sender, Verifier
from receivers.payload import Json, parse, text, text_or
from receivers.signature import STANDARD_PREFIX, StandardVerifier, standard_time, token_in


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `webhook-signature` for a signing token, else of `X-Gitlab-Token`. Raises BadSignature."""
    if credentials.token.startswith(STANDARD_PREFIX) and "webhook-signature" in headers:
        return StandardVerifier(headers, credentials)
    if "x-gitlab-token" not in headers:
        raise BadSignature("X-Gitlab-Token is missing: set the Receiver's token as the secret token of the hook")
    return token_in(headers["x-gitlab-token"], credentials)


def signed_at(headers: Mapping[str, str]) -> datetime | None:
    """Return when the delivery was signed, None where it is not. Raises BadSignature."""
    return standard_time(headers) if "webhook-signature" in headers else None


def name(headers: Mapping[str, str]) -> str:
    """Return the event's name, such as `Push Hook`."""
    return headers.get("x-gitlab-event", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id that stays the same when GitLab sends a delivery again."""
    return headers.get("idempotency-key") or headers.get("webhook-id") or headers.get("x-gitlab-event-uuid", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return a GitPush for pushes of branches and tags, () otherwise. Raises BadPayload."""
    payload = parse(delivery.body)
    if (text_or(payload, "object_kind") or text_or(payload, "event_name")) not in ("push", "tag_push"):
        return ()
    return (_push(payload),)


def _push(push: Json) -> GitPush:
    urls = tuple(dict.fromkeys((*_project_urls(push), *urls_of(push, "repository"))))
    if not urls:
        raise BadPayload("project.git_http_url", "missing: the push does not say which repository it is about")
    after = commit_id(push, "after")
    return GitPush(
        urls=urls,
        ref=text(push, "ref"),
        before=commit_id(push, "before"),
        after=after,
        deleted=not after,
        default_branch=text_or(push, "project", "default_branch"),
    )


def _project_urls(push: Json) -> tuple[str, ...]:
    names = ("git_http_url", "git_ssh_url", "web_url")
    return tuple(filter(None, (text_or(push, "project", each) for each in names)))


GITLAB = Sender(type="gitlab", verifier=verifier, read=read, name=name, delivery_id=delivery_id, signed_at=signed_at)
