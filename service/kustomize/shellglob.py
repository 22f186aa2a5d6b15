"""Shell patterns that trim a text, bytes in and out: `*`, `?`, `[a-z]`, `\\c`, as fluxcd/pkg/envsubst v1.9.0 `path/match.go` matches them.

`*` crosses slashes here. A malformed pattern trims nothing, but only where it is reached, as upstream.
"""


class _BadPattern(Exception):
    pass


def trim_shortest(text: bytes, pattern: bytes) -> bytes:
    """Without the shortest beginning that matches."""
    return _without(text, pattern, shortest=True)


def trim_longest(text: bytes, pattern: bytes) -> bytes:
    """Without the longest beginning that matches."""
    return _without(text, pattern, shortest=False)


def _without(text: bytes, pattern: bytes, *, shortest: bool) -> bytes:
    found = 0
    try:
        for end in range(len(text), 0, -1):
            if _matches(pattern, text[:end]):
                found = end
                if not shortest:
                    break
    except _BadPattern:
        return text
    return text[found:]


def _matches(pattern: bytes, name: bytes) -> bool:
    while pattern:
        star, chunk, pattern = _chunk(pattern)
        if star and not chunk:
            return True
        rest = _after(chunk, name)
        if rest is not None and (not rest or pattern):
            name = rest
            continue
        if not star:
            return False
        for skipped in range(1, len(name) + 1):
            rest = _after(chunk, name[skipped:])
            if rest is not None and (pattern or not rest):
                name = rest
                break
        else:
            return False
    return not name


def _chunk(pattern: bytes) -> tuple[bool, bytes, bytes]:
    """Whether a star comes first, what follows up to the next one, and the rest."""
    plain = pattern.lstrip(b"*")
    at, inside = 0, False
    while at < len(plain):
        match plain[at : at + 1]:
            case b"\\":
                at += at + 1 < len(plain)
            case b"[":
                inside = True
            case b"]":
                inside = False
            case b"*" if not inside:
                break
        at += 1
    return len(plain) < len(pattern), plain[:at], plain[at:]


def _after(chunk: bytes, text: bytes) -> bytes | None:
    """What follows in the text after the chunk, None where it does not stand at its beginning."""
    while chunk:
        if not text:
            return None
        match chunk[:1]:
            case b"[":
                char, text = _rune(text)
                hit, chunk = _in_class(chunk[1:], char)
                if not hit:
                    return None
            case b"?":
                text, chunk = _rune(text)[1], chunk[1:]
            case first:
                if first == b"\\":
                    chunk = chunk[1:]
                    if not chunk:
                        raise _BadPattern
                if chunk[0] != text[0]:
                    return None
                text, chunk = text[1:], chunk[1:]
    return text


def _in_class(chunk: bytes, char: str) -> tuple[bool, bytes]:
    negated = chunk[:1] == b"^"
    chunk = chunk[1:] if negated else chunk
    hit, ranges = False, 0
    while not (ranges and chunk[:1] == b"]"):
        low, chunk = _bound(chunk)
        high = low
        if chunk[:1] == b"-":
            high, chunk = _bound(chunk[1:])
        hit = hit or low <= char <= high
        ranges += 1
    return hit != negated, chunk[1:]


def _bound(chunk: bytes) -> tuple[str, bytes]:
    if chunk[:1] in (b"", b"-", b"]") or chunk == b"\\":
        raise _BadPattern
    char, rest = _rune(chunk[1:] if chunk[:1] == b"\\" else chunk)
    if not rest:
        raise _BadPattern
    return char, rest


def _rune(text: bytes) -> tuple[str, bytes]:
    """The first character; a byte that is none is one by itself."""
    for size in range(1, 5):
        try:
            return text[:size].decode(), text[size:]
        except UnicodeDecodeError:
            continue
    return "\ufffd", text[1:]
