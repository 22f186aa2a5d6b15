"""What nearly every message has: a title, a bounded text, and facts; as plain text, to be escaped by the target's own rules.

In: an event, whose texts are foreign. Out: texts that can be shown, cut at a bound, the same for the same event (Flux's order is random).
"""

import re
from collections.abc import Callable

from providers.contract import Event
from providers.mrkdwn import CUT, clean, units

UNSHOWN = frozenset(("commit_status", "change_request"))
FACTS = 20


def object_name(event: Event) -> str:
    """`kustomization/web.apps`, as Flux names an object in its messages; at most 300 units."""
    return plain(f"{event.kind.lower()}/{event.name}" + (f".{event.namespace}" if event.namespace else ""), 300)


def heading(event: Event, otherwise: str = "") -> str:
    """What stands over the message: a template's title, or the type's own words, by default the object's name; at most 300 units."""
    return line(event.title, 300) or otherwise or object_name(event)


def plain(text: str, limit: int) -> str:
    """The text without what cannot be shown, cut to `limit` UTF-16 units; a cut is shown."""
    cleaned = clean(text[: 4 * limit]).strip()
    if units(cleaned) <= limit and len(text) <= 4 * limit:
        return cleaned
    kept = cleaned.encode("utf-16-le")[: 2 * (limit - units(CUT))]
    return kept.decode("utf-16-le", "ignore").rstrip() + CUT  # half of a pair is left out


def escaped(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """The same with each character escaped, cut so that the result has at most `limit` units and no half of an escape."""
    shown = plain(text, limit)
    whole = escape(shown)
    if units(whole) <= limit:
        return whole
    kept, room, at = "", limit - units(CUT), 0
    for step in (64, 1):  # many at once while they fit, then one by one
        while at < len(shown) and units(part := escape(shown[at : at + step])) <= room:
            kept, room, at = kept + part, room - units(part), at + step
    return kept.rstrip() + CUT


def line(text: str, limit: int) -> str:
    """The text on one line."""
    return " ".join(plain(text, limit).split())


def facts(event: Event, *, most: int = FACTS, longest: int = 300, longest_name: int = 60) -> list[tuple[str, str]]:
    """The metadata that is shown, `summary` first, then by name; at most `most` pairs of one-line texts, none of them empty."""
    names = sorted((name for name in event.metadata if name not in UNSHOWN), key=lambda name: (name != "summary", name))
    pairs = [(line(name, longest_name), line(event.metadata[name], longest)) for name in names]
    shown = [(name, value) for name, value in pairs if name and value]
    if len(shown) <= most:
        return shown
    return [*shown[: most - 1], ("…", f"and {len(shown) - most + 1} more")]


def backslashes(specials: str) -> Callable[[str], str]:
    """Return an escape that puts a backslash before each of these characters."""
    found = re.compile(f"([{re.escape(specials)}])")
    return lambda text: found.sub(r"\\\1", text)


def unmentioned(text: str) -> str:
    """The text in which nobody is mentioned: a space without width follows each `@`."""
    return text.replace("@", "@\u200b")


def code(text: str, limit: int) -> str:
    """One line as inline code of any Markdown, in which nothing has a meaning."""
    return "`" + (line(text, limit).replace("`", "'") or "-") + "`"


def fenced(text: str, limit: int) -> str:
    """A block of code of any Markdown, in which nothing has a meaning; at most 3 * limit units."""
    shown = plain(text, limit).replace("```", "`\u200b`\u200b`").replace("~~~", "~\u200b~\u200b~")
    return f"```text\n{shown}\n```"


def is_error(event: Event) -> bool:
    """Whether the event says that something failed."""
    return event.severity == "error"
