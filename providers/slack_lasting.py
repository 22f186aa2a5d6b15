"""Slack with a bot token: one message for each revision and object (or group of objects), changed as things go on, details in its thread.

In: an event and the target. Out: requests, and notes about what is in the channel. After each answer of Slack a note is kept before the
next request, so that after a kill at most one request is made twice, and none is left out. An alarm's end is told on the message that
raised it. Incoming webhooks get the same content as new messages. https://docs.slack.dev/reference/methods/chat.update
"""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from providers import contract, slack_api, slack_blocks
from providers.contract import Event, Placing, Remember, Reply, Step, Target
from providers.mrkdwn import fit
from providers.slack_notes import MEMBERS, Alarm, Entry, Root, alarm_of, ask, digest_of, line_of, mark_of, recall, root_of
from providers.slack_words import ICONS, Told, commit_of, duration, object_of, outcome_of, told

IN_ROOT, PART, PARTS = 700, 2_900, 16
_GONE = frozenset(("message_not_found", "cant_update_message", "edit_window_closed"))
_CALLS = frozenset(("failed", "blocked", "drift"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """An event for one channel; `options` are the event's and the target's together."""

    event: Event
    target: Target
    options: Mapping[str, str]
    channel: str

    def alarm(self, event: Event) -> str:
        """The name of the note about an object's alarm."""
        return f"alarm|{self.channel}|{self.event.alert}|{object_of(event)}"

    def root(self, alarms: Mapping[str, Alarm]) -> str:
        """The name of the note about the message that shows the event."""
        event, revision = self.event, self.event.metadata.get("revision", "")
        open_alarm = alarms.get(object_of(event))
        if not revision and open_alarm is not None and open_alarm.roots:
            return open_alarm.roots[-1]
        group = self.options.get("group") or ("" if self.options.get("group-by") == "revision" else object_of(event))
        return f"root|{self.channel}|{event.alert}|{group}|{revision or event.timestamp.isoformat()}"


def once(post: Post, *, alone: bool) -> Placing:
    """A message of its own; of a recovery it says how long the alarm had lasted."""
    event = post.event
    if _is_refresh(event) or (event.recovery_only and post.options.get("look") == "flux"):
        return
    alarms = yield from _alarms(post)
    if event.recovery_only and not alarms:
        return
    name, mark = f"sent|{post.channel}|{event.alert}|{object_of(event)}", mark_of(event)
    if alone or (yield from recall(name)) != mark:
        extra = "\n".join(_ended(each, alarms[object_of(each)]) for each in _parts(event) if _recovers(each) and object_of(each) in alarms)
        body = slack_api.content(event, post.options, extra=extra) if not event.members else _listed(post, {}, extra=extra)
        slack_api.settle((yield from ask(slack_api.request(post.target, body, channel=post.channel))))
    notes: dict[str, str | None] = {} if alone else {name: mark}
    for each in _parts(event):
        if _recovers(each) and object_of(each) in alarms:
            notes[post.alarm(each)] = None
        elif _fails(each) and object_of(each) not in alarms:
            notes[post.alarm(each)] = _opened(each).dumped()
    if notes:
        yield Remember(notes=notes)


def lasting(post: Post) -> Placing:
    """Post or change the one message of the revision and object; end alarms on the messages that raised them. Raises Rejected, Busy."""
    event = post.event
    alarms = yield from _alarms(post)
    name = post.root(alarms)
    if not event.recovery_only:
        if not (_is_refresh(event) and event.reason != "Progressing"):
            yield from _show(post, name, alarms)
    elif not alarms:
        return
    for each in _parts(event):
        alarm = alarms.get(object_of(each))
        if not _recovers(each) or alarm is None:
            continue
        for other in alarm.roots:
            if other != name or event.recovery_only:
                yield from _end(post, other, each, alarm)
        yield Remember(notes={post.alarm(each): None})


def _alarms(post: Post) -> Generator[Step, Reply, dict[str, Alarm]]:
    """The open alarms of the event's objects."""
    found: dict[str, Alarm] = {}
    for each in _parts(post.event):
        if _recovers(each) or _fails(each):
            alarm = alarm_of((yield from recall(post.alarm(each))))
            if alarm is not None:
                found[object_of(each)] = alarm
    return found


def _show(post: Post, name: str, alarms: Mapping[str, Alarm]) -> Placing:
    """Post the message or bring it up to date, and its thread."""
    root, mark = root_of((yield from recall(name))), mark_of(post.event)
    if root is None or mark not in root.marks:
        is_new = root is None
        root = root or Root(channel=post.channel, ts="")
        replies = _take_in(post, root, name, alarms)
        yield from _put(post, root, calls=is_new)
        root.mark(mark)
        if not is_new and replies.pop("news", None):
            root.replies.append(_news(post))
        root.replies += [{"text": part} for part in replies.get("parts", [])]
        notes: dict[str, str | None] = {name: root.dumped()}
        for each in _parts(post.event):
            if _fails(each):
                alarm = alarms.get(object_of(each)) or _opened(each)
                alarm.roots = list(dict.fromkeys([*alarm.roots, name]))
                notes[post.alarm(each)] = alarm.dumped()
        yield Remember(notes=notes)
    yield from _answer(post, name, root)


def _take_in(post: Post, root: Root, name: str, alarms: Mapping[str, Alarm]) -> dict[str, Any]:
    """Enter how the event's objects stand now; return what the thread gets: `news` and `parts`."""
    event = post.event
    root.commit = commit_of(event) or root.commit
    details: list[str] = []
    news = False
    for each in _parts(event):
        said, before = told(each), root.members.get(object_of(each))
        alarm = alarms.get(object_of(each))
        ended = _ended(each, alarm) if alarm is not None and _recovers(each) and name in alarm.roots else ""
        inside = slack_blocks.fits(said.details, IN_ROOT)
        if before is None and len(root.members) >= MEMBERS:
            continue
        shown = slack_blocks.shortened(said.details, IN_ROOT)
        plain = Told(
            outcome=said.outcome, title=said.title, summary=fit(said.summary, IN_ROOT), head=said.head, line=said.line, notes=said.notes
        )
        root.members[object_of(each)] = Entry(told=plain, details=shown, ended=ended)
        if said.details and (not inside or len(root.members) > 1):
            details += [f"{object_of(each)}:", *said.details] if event.members else said.details
        news |= bool(ended) or said.outcome in _CALLS
    return {"news": news, "parts": slack_blocks.parts(details, PART, PARTS)}


def _put(post: Post, root: Root, *, calls: bool) -> Placing:
    """Send the message as it should be now, new where there is none, or where it is gone or too old to be changed."""
    called, wrong = slack_blocks.mentions(post.options.get("mention", ""), post.event.severity)
    body = _listed(post, root.members, extra="", commit=root.commit)
    if wrong:
        body = _noted(body, f"mention not understood: {'; '.join(wrong)}")
    if root.ts:
        if digest_of(body) == root.shown:
            return
        request = slack_api.request(post.target, body | {"ts": root.ts}, channel=root.channel, method="chat.update")
        response = yield from ask(request)
        if slack_api.error_of(response) not in _GONE:
            slack_api.settle(response)
            root.shown = digest_of(body)
            return
    first = body if not (calls and called) else _listed(post, root.members, extra=called, commit=root.commit)
    response = yield from ask(slack_api.request(post.target, first, channel=post.channel))
    slack_api.settle(response)
    root.channel, root.ts = _where(response, post.channel)
    root.shown, root.replies = digest_of(body if not called else first), []


def _listed(post: Post, members: Mapping[str, Entry], *, extra: str, commit: str = "") -> dict[str, Any]:
    """The body for one object, or the list of several."""
    entries = members or {object_of(each): Entry(told=told(each)) for each in _parts(post.event)[:MEMBERS]}
    if len(entries) > 1:
        said = {name: line_of(entry) for name, entry in entries.items()}
        return slack_blocks.listing(commit or commit_of(post.event), said, extra=extra)
    [entry] = entries.values()
    above = "\n".join(filter(None, (f"*{entry.ended}*" if entry.ended else "", extra)))
    shown = entry.told
    if entry.ended:
        icon = ICONS[shown.outcome], ICONS["well"]
        shown = replace(shown, outcome="well", title=shown.title.replace(*icon, 1), head=shown.head.replace(*icon, 1))
    return slack_blocks.message(shown, details=entry.details, extra=above)


def _noted(body: dict[str, Any], note: str) -> dict[str, Any]:
    block = {"type": "context", "elements": [{"type": "mrkdwn", "text": fit(note, 600), "verbatim": True}]}
    [attachment] = body["attachments"]
    return body | {"attachments": [{**attachment, "blocks": [*attachment["blocks"], block]}]}


def _answer(post: Post, name: str, root: Root) -> Placing:
    """Post what the thread lacks, one by one."""
    while root.replies and root.ts:
        body = root.replies[0] | {"thread_ts": root.ts}
        slack_api.settle((yield from ask(slack_api.request(post.target, body, channel=root.channel))))
        root.replies = root.replies[1:]
        yield Remember(notes={name: root.dumped()})


def _news(post: Post) -> dict[str, Any]:
    """What a change of the message itself would tell nobody: Slack notifies of new messages only."""
    event = post.event
    called, _ = slack_blocks.mentions(post.options.get("mention", ""), event.severity)
    said = told(event)
    text = "\n".join(filter(None, (fit(said.title, 300), said.line, called)))
    return {"text": text, "reply_broadcast": True} if event.severity == "error" else {"text": text}


def _end(post: Post, name: str, event: Event, alarm: Alarm) -> Placing:
    """Tell on a message that has raised an alarm that the alarm is over."""
    root, mark = root_of((yield from recall(name))), mark_of(event)
    if root is None:
        return
    entry = root.members.get(object_of(event))
    if mark not in root.marks and entry is not None:
        entry.ended = _ended(event, alarm)
        yield from _put(post, root, calls=False)
        root.mark(mark)
        root.replies.append({"text": f"✅ {fit(object_of(event), 300)}: {entry.ended}"})
        yield Remember(notes={name: root.dumped()})
    yield from _answer(post, name, root)


def _ended(event: Event, alarm: Alarm) -> str:
    """`recovered after 4m 12s, with main@5394cb7f “Fix the image” by Ann`."""
    lasted = duration(event.timestamp - alarm.since)
    by = commit_of(event).removeprefix("at ") if event.metadata.get("revision", "") != alarm.revision else ""
    return f"recovered after {lasted}, {f'with {by}' if by else 'without a new revision'}"


def _opened(event: Event) -> Alarm:
    return Alarm(since=event.timestamp, revision=event.metadata.get("revision", ""))


def _where(response: contract.Response, channel: str) -> tuple[str, str]:
    """The channel's id and the message's, which later changes need."""
    try:
        body = json.loads(response.body)
        return str(body.get("channel") or channel), str(body.get("ts") or "")
    except (ValueError, AttributeError):
        return channel, ""


def _parts(event: Event) -> tuple[Event, ...]:
    return event.members or (event,)


def _fails(event: Event) -> bool:
    return event.severity == "error" and outcome_of(event) != "drift"


def _recovers(event: Event) -> bool:
    return contract.recovers(event.severity, event.reason)


def _is_refresh(event: Event) -> bool:
    return event.metadata.get("commit_status") == "update"
