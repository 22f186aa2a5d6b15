"""spec.url and spec.ref in, a checked URL and one exact refspec out, and the revision of what it leads to.

Rules of names: https://git-scm.com/docs/git-check-ref-format. An unchecked `evil:refs/heads/other` in a refspec would move another ref.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from service.kinds.meta import Revision, git_revision
from service.kinds.source import GitRef
from service.sources.semver import InvalidVersion, Range

# control characters, space and the letters that mean something in a refspec, a revision or a glob
_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?=/|$)|\.$|/$|^/|^\.|^@$|^$")
_SCP = re.compile(r"^[^/:]+@?[^/:]*:(?!//)")
_ID = re.compile(r"[0-9a-f]{40}")


class InvalidRef(ValueError):
    """spec.ref names something that cannot be a Git ref."""


class InvalidUrl(ValueError):
    """spec.url cannot be fetched from; the message says what to write instead."""


def is_ref_name(name: str) -> bool:
    """Return whether `name` may stand in a full ref, by the rules of `git check-ref-format --allow-onelevel`."""
    return _BAD.search(name) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to fetch: `source` is a full ref name, or refs/heads/* where a commit is looked for on any branch; "" `commit`: the tip.

    `semver` is a checked range: the newest tag inside it is looked for among `source`, which is refs/tags/* then.
    `with_tag`: the annotated tag itself is wanted too, not only the commit that it leads to.
    `hint` is the id that a payload says the ref has now, "" for none: it makes a fetch shorter and is never believed.
    """

    source: str
    label: str
    commit: str = ""
    semver: str = ""
    with_tag: bool = False
    hint: str = ""

    def hinted(self, ids: Iterable[str]) -> "Wanted":
        """Return the same with the last of `ids` that can be the id of an object."""
        return replace(self, hint=next((id_ for id_ in reversed(tuple(ids)) if _ID.fullmatch(id_)), ""))

    def at_tag(self, tag: str) -> "Wanted":
        """Return what to fetch once a range has led to a tag."""
        return replace(self, source=f"refs/tags/{tag}", label=tag, semver="", hint="")

    def revision(self, commit: str, label: str = "") -> Revision:
        """Return Flux's revision of `commit` reached this way; `label` is the tag that a range has led to."""
        return git_revision(commit, label or self.label or None)


def wanted(ref: GitRef | None) -> Wanted:
    """Return what a spec.ref asks for, in Flux's order: commit, name, tag, semver, branch. Raises InvalidRef."""
    ref = ref or GitRef()
    branch = _checked("spec.ref.branch", ref.branch) if ref.branch else ""
    if ref.commit:
        if not _ID.fullmatch(ref.commit):
            raise InvalidRef(f"spec.ref.commit '{ref.commit}' is not a full commit id of 40 lower-case hex digits")
        return Wanted(source=f"refs/heads/{branch or '*'}", label=branch, commit=ref.commit)
    if ref.name:
        name = ref.name.removesuffix("^{}")  # tags are peeled anyway
        if name != "HEAD" and not (name.startswith("refs/") and is_ref_name(name)):
            raise InvalidRef(f"spec.ref.name '{ref.name}' is not a full ref name such as refs/heads/main or refs/pull/1/head")
        return Wanted(source=name, label=ref.name)
    if ref.tag:
        return Wanted(source=f"refs/tags/{_checked('spec.ref.tag', ref.tag)}", label=ref.tag)
    if ref.semver:
        try:
            Range.parse(ref.semver)
        except InvalidVersion as error:
            raise InvalidRef(f"spec.ref.semver: {error}") from error
        return Wanted(source="refs/tags/*", label="", semver=ref.semver)
    branch = branch or "master"
    return Wanted(source=f"refs/heads/{branch}", label=branch)


def _checked(field: str, name: str) -> str:
    if not is_ref_name(name) or name.startswith("-"):
        raise InvalidRef(f"{field} '{name}' is not a name that Git allows; see `git help check-ref-format`")
    return name


def checked_url(url: str) -> str:
    """Return `url` if it can be fetched from: http, https or ssh with a host. Raises InvalidUrl."""
    if _SCP.match(url) and "://" not in url:
        host, _, path = url.partition(":")
        raise InvalidUrl(f"'{host}:{path}' is the scp form, which is not a URL; write ssh://{host}/{path.lstrip('/')}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl(str(error)) from error
    if parts.scheme not in ("http", "https", "ssh"):
        raise InvalidUrl(f"the scheme '{parts.scheme}' is not supported; use https, http or ssh")
    if parts.scheme == "ssh" and parts.password is not None:
        raise InvalidUrl("an ssh address must not hold a password; use a key, by spec.secretRef")
    if not parts.hostname or port == 0:
        raise InvalidUrl("there is no host in it; write https://host/path")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        raise InvalidUrl("it contains a space or a control character")
    return url
