"""What a message says of an event, in Slack's own markup: a headline, a line below it, details, notes.

In: an event, whose texts are foreign. Out: a `Told`, every text of it escaped and bounded. Success: what is live, which commit by whom,
how many objects, how long. Failure: what and why, what still runs, when the next try is, the command that explains. The format:
https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from providers.contract import Event
from providers.mrkdwn import clean, escape, fit

Outcome = Literal["well", "failed", "progress", "drift", "blocked", "note"]
ICONS: Mapping[Outcome, str] = {"well": "✅", "failed": "❌", "progress": "⏳", "drift": "🔧", "blocked": "🛑", "note": "•"}
HEADLINE, LINE, FIELD, NOTES = 600, 900, 300, 10
SHOWN_APART = frozenset(
    ("revision", "originRevision", "commit_subject", "commit_author", "commit_url", "object_url", "took", "cluster", "summary")
) | {"running", "next_try"}
UNSHOWN = frozenset(("commit_status", "commit", "change_request"))
_DRIFT = frozenset(("DriftDetected", "DriftDisputed", "DriftCorrected", "DriftNotWatched"))
_CHANGE = re.compile(r"^\S+/\S+ (created|configured|deleted|unchanged|skipped|drift\w*|patched|pruned)$")
_UNDONE = re.compile(r"^\S+ drifted: .*, undone$")
_FINISHED = re.compile(r"^Reconciliation finished in \S+, next run in \S+$")
_COMMIT = re.compile(r"(?:^|[:/@])([0-9a-f]{40}|[0-9a-f]{64})$")
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ALLOW = "; to allow it: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`title` and `summary` are for notifications and lists, `head` and `line` the two lines, `details` what more there is, one text a
    line, neither escaped nor bounded; `notes` stand small below."""

    outcome: Outcome
    title: str
    summary: str
    head: str
    line: str
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def told(event: Event) -> Told:
    """What is said of one event."""
    outcome, notes = outcome_of(event), tuple(_notes(event))
    if event.title:
        lines = tuple(clean(event.message).splitlines())
        first = next((line for line in lines if line.strip()), "")
        title = f"{ICONS[outcome]} {event.title}"
        return Told(outcome=outcome, title=title, summary=first, head=f"*{fit(title, FIELD)}*", line="", details=lines, notes=notes)
    title, (line, details) = _title(event, outcome), _second(event, outcome)
    head = " ".join(filter(None, (f"*{_linked(fit(title, FIELD), event.metadata.get('object_url', ''))}*", commit_of(event))))
    return Told(outcome=outcome, title=title, summary=_summary(event), head=head, line=line, details=details, notes=notes)


def outcome_of(event: Event) -> Outcome:
    """How a message looks; whether an alarm ends is another question."""
    if event.reason in _DRIFT or any(_UNDONE.match(line) for line in event.message.splitlines()):
        return "drift" if event.severity == "info" or event.reason in _DRIFT else "failed"
    if event.severity == "error":
        return "blocked" if event.reason == "PruneBlocked" else "failed"
    if event.reason == "Progressing":
        return "progress"
    return "well" if event.reason.endswith("Succeeded") or event.reason == "NewArtifact" else "note"


def object_of(event: Event) -> str:
    """`Kustomization/apps/web`."""
    return f"{event.kind}/{event.namespace}/{event.name}" if event.namespace else f"{event.kind}/{event.name}"


def commit_of(event: Event) -> str:
    """`at main@5394cb7f “Raise the replicas” by Ann`, as far as it is known, linked where the commit's page is."""
    data = event.metadata
    subject, author = fit(data.get("commit_subject", ""), 120), fit(data.get("commit_author", ""), 80)
    parts = [revision_of(event), f"“{subject}”" if subject else "", f"by {author}" if author else ""]
    words = " ".join(filter(None, parts))
    return f"at {words}" if words else ""


def revision_of(event: Event) -> str:
    """`main@5394cb7f`, linked where the commit's page is known."""
    text = clean(event.metadata.get("revision", "")).strip()
    found = _COMMIT.search(text)
    if found is None:
        return fit(text, FIELD)
    pointer = text[: found.start()].removesuffix("sha1").removesuffix("sha256").rstrip("@:/")
    return _linked(fit(f"{pointer}@{found[1][:8]}" if pointer else found[1][:8], FIELD), event.metadata.get("commit_url", ""))


def duration(length: timedelta) -> str:
    """`4m 12s`, `2h 5m`, `3d 4h`."""
    seconds = max(int(length.total_seconds()), 0)
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((number for number, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def changes_of(event: Event) -> tuple[list[str], str]:
    """What changed, one line each, and what else the message says."""
    lines = clean(event.message).splitlines()
    rest = [line for line in lines if not _CHANGE.match(line) and not _FINISHED.match(line)]
    return [line for line in lines if _CHANGE.match(line)], "\n".join(rest).strip()


def _title(event: Event, outcome: Outcome) -> str:
    words, name = _WORDS.sub(" ", event.reason).lower() or "event", object_of(event)
    match outcome:
        case "well" if event.reason == "ReconciliationSucceeded":
            said = f"{name} is live"
        case "progress":
            said = f"{name} is rolling out"
        case "drift":
            said = f"{name}: {'drift undone' if event.severity == 'info' else words}"
        case _:
            said = f"{name}: {words}"
    return f"{ICONS[outcome]} {said}"


def _summary(event: Event) -> str:
    changes, rest = changes_of(event)
    if not changes or (event.severity == "error" and rest):
        return rest
    return ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")


def _second(event: Event, outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    """The line below the headline, and the details."""
    changes, rest = changes_of(event)
    said = rest.splitlines()
    if outcome == "blocked" and said and _ALLOW in said[0]:
        why, _, command = said[0].partition(_ALLOW)
        return f"{fit(why, LINE // 2)}\nTo allow just this: `{fit(command.replace('`', ''), FIELD)}`", tuple(said[1:])
    if event.severity == "error":
        first, *more = said or [""]
        line = "\n".join(filter(None, (fit(first, LINE // 2), _standing(event))))
        long = len(first) > LINE // 2
        return line, (*([first] if long else []), *more, *changes)
    took = fit(event.metadata.get("took", ""), 40)
    counted = _counted(changes) + (f" in {took}" if took and changes else "")
    undone = [line for line in said if _UNDONE.match(line)]
    others = [line for line in said if not _UNDONE.match(line)]
    if undone:
        return "\n".join(filter(None, (fit(undone[0], LINE // 2), counted))), (*undone[1:], *others, *changes)
    if not changes and others:
        return fit(others[0], LINE // 2), tuple(others[1:] if len(others[0]) <= LINE // 2 else others)
    return counted, (*others, *changes)


def _counted(changes: list[str]) -> str:
    """`3 objects changed (2 configured, 1 created)`."""
    if not changes:
        return ""
    counts = Counter(line.rpartition(" ")[2] for line in changes)
    return (
        f"{len(changes)} object{'s' if len(changes) > 1 else ''} changed ({', '.join(f'{n} {what}' for what, n in sorted(counts.items()))})"
    )


def _standing(event: Event) -> str:
    """What still runs, when the next try is, the command that explains."""
    data = event.metadata
    running, again = _short(data.get("running", "")), fit(data.get("next_try", ""), 40)
    ours = event.controller in ("kustomize-controller", "source-controller") and bool(event.namespace)
    name = fit(object_of(event).replace("`", ""), FIELD)
    parts = (f"still running: {running}" if running else "", f"next try: {again}" if again else "", f"`sluice why {name}`" if ours else "")
    return " · ".join(filter(None, parts))


def _short(revision: str) -> str:
    found = _COMMIT.search(revision)
    return fit(f"{revision[: found.start()].removesuffix('sha1').rstrip('@:/')}@{found[1][:8]}" if found else revision, 80)


def _notes(event: Event) -> Iterable[str]:
    data = event.metadata
    parts = [data.get("summary", ""), f"cluster {data['cluster']}" if data.get("cluster") else ""]
    names = sorted(name for name in data if name not in SHOWN_APART and name not in UNSHOWN)
    parts += [f"{name}: {data[name]}" for name in names]
    return [fit(note, FIELD * 2) for note in parts if clean(note).strip()][:NOTES]


def _linked(text: str, address: str) -> str:
    """The text as a link, where the address is http(s) and holds nothing that could end the link."""
    if len(address) > 1_000 or not re.fullmatch(r"https?://[\w.:\[\]-]+(?:/[\w./%~+:=@-]*)?", address, re.ASCII):
        return text
    return f"<{escape(address)}|{text.replace('|', '¦')}>"
