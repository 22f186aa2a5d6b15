"""spec.ref.semver: the tags of a remote in, the one with the newest version inside the range out.

As Flux does: three numbers, with or without a v; of tags with equal versions (1.0.0 and v1.0.0, or other words behind the +) the one whose
commit is the newest. https://github.com/fluxcd/pkg/blob/main/git/gogit/clone.go
"""

import time
from collections.abc import Iterable

from service.sources.semver import InvalidVersion, Range, Version

TAGS = "refs/tags/"
_AT_ONCE = 200


def newest_tags(refs: Iterable[str], wanted: Range) -> tuple[str, ...]:
    """Return the tags, without refs/tags/, whose version is the newest inside the range: several where they are equal, () for none.

    For a thread: it lets others run now and then, since a remote may have thousands of tags.
    """
    newest: Version | None = None
    found: list[str] = []
    for number, ref in enumerate(refs, 1):
        if number % _AT_ONCE == 0:
            time.sleep(0)
        version = _version(ref)
        if version is None or version not in wanted or (newest is not None and version < newest):
            continue
        if newest is None or version > newest:
            newest, found = version, []
        found.append(ref.removeprefix(TAGS))
    return tuple(found)


def _version(ref: str) -> Version | None:
    if not ref.startswith(TAGS):
        return None
    try:
        return Version.parse(ref.removeprefix(TAGS), strict=True)
    except InvalidVersion:
        return None
