"""GitHub, and what speaks its language: Gitea, Forgejo and Gogs.

In: a delivery signed with the Receiver's token. Out: a GitPush for `push`, a Ping for `ping`, nothing for other events. The formats:
https://docs.github.com/en/webhooks/webhook-events-and-payloads and https://docs.gitea.com/usage/webhooks
"""

import re
from collections.abc import Mapping

from receivers.contract import BadPayload, BadSignature, Credentials, Delivery, Event, GitPush, Ping, Sender, Verifier
from receivers.payload import Json, flag, form_field, length_of, number_or, parse, text, text_or, texts
from receivers.signature import hmac_of

MOST_COMMITS = 2048  # GitHub lists no more of one push
MOST_FILES = 300  # a commit that lists as many may have more of them
MOST_PATHS, LONGEST_PATHS = 5000, 256 * 1024  # more, or more characters in all, are of no use as a hint
_ID = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_URLS = ("clone_url", "ssh_url", "html_url", "git_url", "git_http_url", "git_ssh_url", "svn_url", "url")
_FORM = "application/x-www-form-urlencoded"


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `X-Hub-Signature-256`, else `X-Hub-Signature` (SHA-1), else Gogs' `X-Gogs-Signature`. Raises BadSignature."""
    if "x-hub-signature-256" in headers:
        return hmac_of(headers["x-hub-signature-256"], credentials, algorithms=("sha256",))
    if "x-hub-signature" in headers:
        return hmac_of(headers["x-hub-signature"], credentials, algorithms=("sha1", "sha256", "sha512"))
    if "x-gogs-signature" in headers:
        return hmac_of(headers["x-gogs-signature"], credentials, algorithms=("sha256",), bare="sha256")
    raise BadSignature("X-Hub-Signature-256 is missing: set the Receiver's token as the secret of the hook at the sender")


def name(headers: Mapping[str, str]) -> str:
    """Return the event's name, such as `push`."""
    return headers.get("x-github-event", "")


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the id under which the sender lists the delivery."""
    return headers.get("x-github-delivery", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return what a verified delivery says, () for events other than `push` and `ping`. Raises BadPayload."""
    body = delivery.body
    if delivery.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
        body = form_field(body, "payload")
    payload = parse(body)
    match name(delivery.headers).lower():
        case "push":
            return (_push(payload),)
        case "ping":
            return (Ping(),)
        case _:
            return ()


def _push(push: Json) -> GitPush:
    urls = tuple(dict.fromkeys(filter(None, (text_or(push, "repository", name) for name in _URLS))))
    if not urls:
        raise BadPayload("repository.clone_url", "missing: the push does not say which repository it is about")
    before, after = _commit_id(push, "before"), _commit_id(push, "after")
    deleted = flag(push, "deleted") or not after
    forced = flag(push, "forced")
    tells_all = bool(before) and not deleted and _tells_forced(push) and not forced
    return GitPush(
        urls=urls,
        ref=text(push, "ref"),
        before=before,
        after=after,
        deleted=deleted,
        forced=forced,
        paths=_paths_or_unknown(push, after) if tells_all else None,
        default_branch=text_or(push, "repository", "default_branch") or text_or(push, "repository", "master_branch"),
    )


def _tells_forced(push: Json) -> bool:
    """Whether the sender says if the push was forced: only then do the commits tell all that changed. Gitea and Gogs do not say."""
    return isinstance(push, Mapping) and push.get("forced") is not None


def _commit_id(push: Json, place: str) -> str:
    """The commit id there; "" for the id of zeros that stands for no commit."""
    found = text(push, place)
    if _ID.fullmatch(found) is None:
        raise BadPayload(place, "not a commit id: 40 or 64 hex digits are needed")
    return found if found.strip("0") else ""


def _paths_or_unknown(push: Json, after: str) -> tuple[str, ...] | None:
    """A list of files that cannot be read is one that is not told: the push counts all the same."""
    try:
        paths = _paths(push, after)
    except BadPayload:
        return None
    return None if paths is not None and sum(map(len, paths)) > LONGEST_PATHS else paths


def _paths(push: Json, after: str) -> tuple[str, ...] | None:
    """The files of all commits, or None where some commit or file may not be listed."""
    count = length_of(push, "commits")
    if not count or count >= MOST_COMMITS or number_or(push, "total_commits", default=count) != count:
        return None
    if after not in (text_or(push, "commits", 0, "id"), text_or(push, "commits", count - 1, "id")):
        return None  # the list ends somewhere else than the push
    found: set[str] = set()
    for number in range(count):
        listed = 0
        for change in ("added", "modified", "removed"):
            files = texts(push, "commits", number, change) or ()
            found.update(files)
            listed += len(files)
        if listed == 0 or listed >= MOST_FILES:
            return None  # an empty list also means "not told": Gitea for merges and old Gogs for all
        if len(found) > MOST_PATHS:
            return None
    return tuple(sorted(found))


GITHUB = Sender(type="github", verifier=verifier, name=name, delivery_id=delivery_id, read=read)
