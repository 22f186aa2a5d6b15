"""One comment on a pull or merge request for each object, made once and then edited.

In: an event and what the forge's API asks. Out: the dialogue that finds our comment by a hidden marker and its author, and the comment's
text. https://github.com/fluxcd/notification-controller/blob/v1.9.3/internal/notifier/git_change_request_comment.go Foreign text stands in
code: there it mentions nobody, and is none of GitLab's quick actions (`/close`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.answers import check, json_of
from providers.card import code, facts, fenced, is_error, line
from providers.contract import Dialogue, Event, Rejected, Request, Target

TEXT, FACT, PER_PAGE, PAGES = 12_000, 500, 50, 20


def number_of(event: Event) -> str:
    """The number of the request, out of the metadata `change_request`. Raises Rejected."""
    text = event.metadata.get("change_request", "")
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise Rejected("event.toolkit.fluxcd.io/change_request is not a number: set it to that of the pull request")
    return text


def marker_of(event: Event, target: Target, prefix: str) -> str:
    """The hidden line by which our comment is found again."""
    key = "/".join((target.uid, event.kind, event.namespace, event.name))
    return f"<!-- {prefix}:{re.sub('--|[<>]', '_', line(key, 500))} -->"


def body_of(event: Event, marker: str) -> str:
    """The whole comment as Markdown."""
    where = code(f"{event.kind}/{event.namespace}/{event.name}", 300)
    lines = [
        marker,
        "",
        "## Flux Status",
        "",
        f"{'⚠️' if is_error(event) else 'ℹ️'} {where}",
        "",
        fenced(event.message or event.reason, TEXT),
    ]
    pairs = facts(event, longest=FACT)
    lines += ["", "Metadata:", *(f"* {code(name, 60)}: {code(value, FACT)}" for name, value in pairs)] if pairs else []
    return "\n".join(lines)


def login_of(name: str, answer: Any, key: str) -> str:
    """Our own name in the forge, out of its answer. Raises Rejected."""
    login = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(login, str) or not login:
        raise Rejected(f"{name} does not say whose token it is: give the token the right to read its user")
    return login


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """The comments of one request: how to read a page of them (from 1), which is ours, how to make it, how to edit it by its id."""

    page: Callable[[int], Request]
    is_ours: Callable[[Mapping[str, Any]], bool]
    create: Request
    edit: Callable[[int], Request]
    pages: int = PAGES


def upsert(name: str, thread: Thread, *, to_do: Mapping[int, str]) -> Dialogue:
    """Edit our comment, or create it where there is none. Raises Rejected, Busy."""
    for number in range(1, thread.pages + 1):
        answer = yield thread.page(number)
        check(name, answer, to_do=to_do)
        comments = json_of(name, answer)
        entries = [each for each in comments if isinstance(each, dict)] if isinstance(comments, list) else []
        found = next((each["id"] for each in entries if isinstance(each.get("id"), int) and thread.is_ours(each)), None)
        if found is not None:
            check(name, (yield thread.edit(found)), to_do=to_do)
            return
        if len(entries) < PER_PAGE:
            break
    check(name, (yield thread.create), to_do=to_do)


def is_by(entry: Mapping[str, Any], author: str, *, person: str, login: str, marker: str) -> bool:
    """Whether a comment is by an author, whose name is in `entry[person][login]`, and holds the marker."""
    by, body = entry.get(person), entry.get("body")
    return isinstance(by, dict) and by.get(login) == author and isinstance(body, str) and marker in body
