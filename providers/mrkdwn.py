"""Foreign text for Slack: nothing in it may become a mention, a link or a broken message, and all of it must fit.

In: any text. Out: text in which `&`, `<` and `>` are escaped, which is all that Slack needs to take it as it is, cut at a bound.
https://docs.slack.dev/messaging/formatting-message-text#escaping
"""

import re
from collections.abc import Sequence

_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # control, zero-width, direction
_UNITS = re.compile(r"&(?:amp|lt|gt);|.", re.DOTALL)
CUT = " …"


def units(text: str) -> int:
    """The length as Slack counts it at the most: UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def clean(text: str) -> str:
    """The text without what cannot be shown; halves of a surrogate pair become U+FFFD."""
    return _UNSHOWABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).encode("utf-16", "replace").decode("utf-16")


def escape(text: str) -> str:
    """The text with the three characters escaped that Slack gives a meaning to. Not idempotent: `&amp;` becomes `&amp;amp;`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fit(text: str, limit: int) -> str:
    """Clean and escape a text and cut it to at most `limit` units, never inside an escape; a cut is shown."""
    cleaned = clean(text[: 4 * limit]).strip()
    whole = escape(cleaned[: limit + 1])
    if units(whole) <= limit and len(cleaned) <= limit and len(text) <= 4 * limit:
        return whole
    room, kept = limit - units(CUT), []
    for found in _UNITS.finditer(whole):
        room -= units(found[0])
        if room < 0:
            break
        kept.append(found[0])
    return "".join(kept).rstrip() + CUT


def fit_lines(lines: Sequence[str], limit: int, *, longest: int = 300) -> str:
    """As many whole lines as fit into `limit` units, each cut to `longest`, and how many are left out. At least one is shown."""
    kept: list[str] = []
    reserve = 32  # for the line that says how many are missing
    room = limit
    for number, line in enumerate(lines):
        shown = fit(line, min(longest, limit - reserve))
        rest = len(lines) - number - 1
        room -= units(shown) + 1
        if kept and room < (reserve if rest else 0):
            return "\n".join([*kept, f"… and {rest + 1} more"])
        kept.append(shown)
    return "\n".join(kept)
