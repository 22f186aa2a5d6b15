"""A message of Slack out of what is said: two lines, a bar in the outcome's colour, details as far as they fit.

In: one `Told` or several. Out: the fields `text`, `blocks` and `attachments` of a message. The formats:
https://docs.slack.dev/reference/block-kit/blocks; the blocks are slack-sdk's models, which check Slack's limits.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block, ContextBlock, MarkdownTextObject, SectionBlock

from providers.mrkdwn import fit, fit_lines, units
from providers.slack_words import ICONS, Outcome, Told

COLOURS: Mapping[Outcome, str] = {
    "well": "#2eb67d", "failed": "#e01e5a", "progress": "#36c5f0", "drift": "#ecb22e", "blocked": "#e01e5a", "note": "#8d8d8d",
}  # fmt: skip
SECTION, FALLBACK, LISTED = 2_900, 1_000, 250  # below Slack's 3000 and 40000: the whole must stay below 13,000 or so
_GROUP = re.compile(r"@?(here|channel|everyone)")
_RANK: Mapping[Outcome, int] = {"failed": 0, "blocked": 1, "drift": 2, "progress": 3, "note": 4, "well": 5}


def message(said: Told, *, details: str, extra: str = "") -> dict[str, Any]:
    """One event's message; `details` as `shortened` gives them, `extra` is markup of ours below the headline, such as a mention."""
    head = said.head + (f"\n{extra}" if extra else "")
    blocks: list[Block] = [SectionBlock(text=_text(said.line))] if said.line else []
    if details:
        blocks.append(SectionBlock(text=_text(details)))
    if said.notes:
        blocks.append(ContextBlock(elements=[_text(note) for note in said.notes]))
    return _message(fit(f"{said.title}\n{said.summary}", FALLBACK), head, said.outcome, blocks)


def listing(commit: str, members: Mapping[str, tuple[Outcome, str]], *, extra: str = "") -> dict[str, Any]:
    """One message for several objects: how many are how, and a line for each, what failed first. `members`: object -> outcome, line."""
    ranked = sorted(members.items(), key=lambda each: (_RANK[each[1][0]], each[0]))
    worst = ranked[0][1][0]
    names: Mapping[Outcome, str] = {
        "well": "live", "failed": "failed", "progress": "rolling out", "drift": "drifted", "blocked": "blocked", "note": "waiting"
    }  # fmt: skip
    counted = [(sum(each == outcome for each, _ in members.values()), names[outcome]) for outcome in _RANK]
    title = f"{ICONS[worst]} {len(members)} objects: " + ", ".join(f"{count} {name}" for count, name in counted if count)
    lines = [f"{ICONS[outcome]} {_cut(text, LISTED)}" for _, (outcome, text) in ranked]
    kept, room = list[str](), SECTION - 40
    for line in lines:
        room -= units(line) + 1
        if room < 0:
            kept.append(f"… and {len(lines) - len(kept)} more")
            break
        kept.append(line)
    head = " ".join(filter(None, (f"*{title}*", commit))) + (f"\n{extra}" if extra else "")
    return _message(fit(title, FALLBACK), head, worst, [SectionBlock(text=_text("\n".join(kept)))])


def shortened(details: Sequence[str], limit: int) -> str:
    """As many lines as fit; a single long one is cut."""
    lines = [line for line in details if line.strip()]
    return fit_lines(lines, limit, longest=limit if len(lines) == 1 else 300) if lines else ""


def fits(details: Sequence[str], limit: int) -> bool:
    """Whether `shortened` leaves nothing out."""
    lines = [line for line in details if line.strip()]
    return sum(units(fit(line, 10 * limit)) + 1 for line in lines) <= limit - 40 and (
        len(lines) == 1 or all(len(each) < 290 for each in lines)
    )


def parts(details: Sequence[str], limit: int, most: int) -> list[str]:
    """All the lines in at most `most` texts, cut between lines, and within one only where it is longer than a text."""
    found: list[str] = []
    pieces = [line[at : at + limit // 6] for line in details if line.strip() for at in range(0, len(line), limit // 6)]
    for piece in pieces:
        shown = fit(piece, limit)
        if found and units(found[-1]) + units(shown) < limit:
            found[-1] += f"\n{shown}"
        elif len(found) == most:
            found[-1] = fit_tail(found[-1], limit)
            break
        else:
            found.append(shown)
    return found


def fit_tail(text: str, limit: int) -> str:
    """The text with a word that there is more."""
    return f"{text}\n… the rest is in `sluice why`" if units(text) + 40 < limit else text


def mentions(rules: str, severity: str) -> tuple[str, list[str]]:
    """Who is called for a severity, as markup, and the rules that cannot be understood.

    `error=@here U024BE7LH S0615G0KT, info=...`: groups by name, members and user groups by id; without `severity=` it is for errors.
    """
    called: list[str] = []
    wrong: list[str] = []
    for rule in filter(None, (each.strip() for each in rules[:1000].split(","))):
        level, equals, whom = rule.partition("=")
        level, whom = (level.strip(), whom) if equals else ("error", rule)
        for who in whom.split():
            markup = _markup(who)
            if not markup or level not in ("error", "info"):
                wrong.append(rule)
            elif level == severity:
                called.append(markup)
    return " ".join(dict.fromkeys(called)), wrong


def _markup(who: str) -> str:
    if found := _GROUP.fullmatch(who):
        return f"<!{found[1]}>"
    if re.fullmatch(r"[UW][A-Z0-9]{5,20}", who):
        return f"<@{who}>"
    return f"<!subteam^{who}>" if re.fullmatch(r"S[A-Z0-9]{5,20}", who) else ""


def _message(text: str, head: str, outcome: Outcome, blocks: list[Block]) -> dict[str, Any]:
    body: dict[str, Any] = {"text": text, "blocks": [SectionBlock(text=_text(head)).to_dict()]}
    shown = blocks or [ContextBlock(elements=[_text("-")])]
    return body | {"attachments": [BlockAttachment(color=COLOURS[outcome], blocks=shown).to_dict()]}


def _cut(markup: str, limit: int) -> str:
    """Markup of ours that may hold links is shown whole or not at all past the limit."""
    return markup if units(markup) <= 4 * limit else markup[:0] + "…"


def _text(text: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=text or "-", verbatim=True)
