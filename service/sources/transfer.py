"""One fetch, blocking: a request in, the commit that the remote names for one ref out, its objects in the store.

Runs in a thread (libgit2 works without the interpreter lock), or in a process of its own where a private CA is trusted: libgit2 keeps
trusted certificates per process, so that is the only way in which one remote's CA never vouches for another remote. Protocol: https://git-scm.com/docs/http-protocol
"""

import re
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import ConfigLevel, CredentialType

from service.outbound import Policy
from service.sources import depth
from service.sources.credentials import Credentials, masked
from service.sources.depth import INCOMING, PRIVATE
from service.sources.fetcherror import AuthRefused, BadStore, FetchError, NoCommit, NoRef, RemoteEmpty, RemoteFailed, RemoteGone, Stopped
from service.sources.gitref import Wanted
from service.sources.newesttag import newest_tags
from service.sources.openrepo import repository
from service.sources.pinned import Head, bring
from service.sources.reach import GIT_POLICY, landed, origin_of, reachable
from service.sources.semver import Range
from service.sources.ssh import is_ssh, key_of, with_user

_COUNTED = re.compile(r"objects: +(?:\d+% \(\d+/)?(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one fetch needs; picklable.

    `seconds` bounds all of it. More than `most_objects` in a fetch without depth is taken for history, and asked for again with depth 1.
    `relayed`: the URL is one of this machine, see service.sources.relay.
    """

    store: Path
    url: str
    uid: str
    wanted: Wanted
    credentials: Credentials = field(repr=False)
    seconds: float
    most_objects: int = 2_000
    policy: Policy = GIT_POLICY
    relayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What the remote has for the ref: `before` is the commit of this object's last fetch, "" the first time.

    `is_behind`: a payload has named a commit that the ref does not lead to and that the store has never seen; the host may be slow.
    `label` is the tag that a range of versions has led to; `tag` is the id of an annotated tag that was wanted.
    """

    store: Path
    commit: str
    before: str
    tree: str
    subject: str
    author: str
    is_behind: bool = False
    label: str = ""
    tag: str = ""


class _TooMuch(Exception):
    """The pack holds far more than new commits."""


class _Callbacks(pygit2.RemoteCallbacks):
    """Ends the transfer at the deadline, when stopped, or when the pack is too big; hands out the credentials once."""

    def __init__(self, request: Request, deadline: float, stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._request = request
        self._deadline = deadline
        self._stopped = stopped
        self._asked = False
        self.proxy: str | Literal[True] | None = request.credentials.proxy or True  # True: what the environment says
        if request.relayed:
            self.proxy = None
        self.most_objects = 0

    def connects(self) -> None:
        """A new connection, which asks for the credentials anew."""
        self._asked = False

    def check(self) -> None:
        if self._stopped() or time.monotonic() > self._deadline:
            raise Stopped(f"not finished within {self._request.seconds:g} s; is the remote slow, or spec.timeout too short?")

    def transfer_progress(self, stats: Any) -> None:
        self.check()
        if self.most_objects and stats.total_objects > self.most_objects:
            raise _TooMuch

    def sideband_progress(self, string: str) -> None:
        """The server says what it counts, in a large repository long before it sends anything."""
        self.check()
        if self.most_objects and any(int(count) > self.most_objects for count in _COUNTED.findall(string)):
            raise _TooMuch

    def custom_headers(self) -> list[str] | None:
        bearer = self._request.credentials.bearer
        return [f"Authorization: Bearer {bearer}"] if bearer else None

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """Called for each TLS or ssh connection before anything is sent on it: a token goes to no other host."""
        if is_ssh(self._request.url):
            return valid  # passed on, libgit2 would go to hosts that are not known
        if host.decode().strip("[]").lower() != urlsplit(self._request.url).hostname:
            if self._request.credentials.bearer:
                raise RemoteFailed(f"the remote redirects to '{host.decode()}', which is not sent any credentials; write it into spec.url")
            if not self._request.credentials.proxy:
                reachable(f"https://{host.decode()}", self._request.policy)
        raise pygit2.Passthrough  # valid or not is as libgit2 has found it

    def credentials(self, url: str, username_from_url: str | None, allowed_types: CredentialType) -> Any:
        known = self._request.credentials
        if origin_of(url) != origin_of(self._request.url):
            raise RemoteFailed(f"the remote redirects to '{masked(url)}', which is not sent any credentials; write it into spec.url")
        if known.ssh_key:
            return self._ssh_key(username_from_url, allowed_types)
        if known.bearer or (self._asked and known.username):
            raise AuthRefused("authentication failed: the remote refuses the credentials of spec.secretRef")
        if not known.username:
            raise AuthRefused("authentication required: the remote asks for credentials, set spec.secretRef")
        self._asked = True
        return pygit2.UserPass(known.username, known.password)

    def _ssh_key(self, user: str | None, allowed_types: CredentialType) -> pygit2.KeypairFromMemory:
        if self._asked or not user or not allowed_types & CredentialType.SSH_MEMORY:
            raise AuthRefused(f"unable to clone '{masked(self._request.url)}': the remote refuses the key 'identity' of spec.secretRef")
        self._asked = True
        return key_of(self._request.credentials, user)


def transfer(request: Request, stopped: Callable[[], bool]) -> Fetched:
    """Fetch, and move the private ref of `request.uid` alone. Raises a FetchError; its text holds no secret."""
    callbacks = _Callbacks(request, time.monotonic() + request.seconds, stopped)
    try:
        return _transfer(request, callbacks)
    except FetchError as error:
        raise type(error)(masked(str(error), request.credentials)) from None
    except (pygit2.GitError, OSError, KeyError, ValueError) as error:
        raise _translated(error, request) from None


def _transfer(request: Request, callbacks: _Callbacks) -> Fetched:
    reachable(request.credentials.proxy or request.url, request.policy)
    repo = _opened(request.store)
    if is_ssh(request.url):
        request = replace(request, url=with_user(request.url))
    if request.url.startswith("http:") and not request.relayed:
        if "http.followRedirects" not in repo.config:
            repo.config["http.followRedirects"] = False
        silence = min(request.seconds, pygit2.settings.server_timeout / 1000 or request.seconds)
        request = replace(request, url=landed(request.url, request.credentials, request.policy, seconds=silence))
    private = PRIVATE + request.uid
    before = _target(repo, private)
    if request.wanted.semver:
        request = replace(request, wanted=_newest_tag(repo, request, callbacks))
    tip, tag = (_pinned(repo, request, callbacks, before), "") if request.wanted.commit else _tip(repo, request, callbacks)
    callbacks.check()  # whoever gave up on this fetch must not see the ref move later
    if tip != before:
        repo.references.create(private, tip, force=True)
    depth.forget_history(repo)
    tree, subject, author = described(repo, tip)
    hint = request.wanted.hint
    behind = bool(hint) and hint != tip and hint not in repo
    found = Fetched(store=request.store, commit=tip, before=before, tree=tree, subject=subject, author=author, is_behind=behind)
    return replace(found, label=request.wanted.label, tag=tag if request.wanted.with_tag else "")


def described(repo: pygit2.Repository, commit: str) -> tuple[str, str, str]:
    """Return the root tree, the subject and the author's name of a commit. Raises KeyError if it is not in the store."""
    found = repo[commit].peel(pygit2.Commit)
    author = (found.author.raw_name or b"").decode(errors="replace")
    return str(found.tree_id), found.raw_message.decode(errors="replace").strip().partition("\n")[0], author


def _newest_tag(repo: pygit2.Repository, request: Request, callbacks: _Callbacks) -> Wanted:
    """What a range of versions leads to now; of equal versions the tag with the newest commit."""
    heads = _remote(repo, request, callbacks).list_heads(callbacks=callbacks, proxy=callbacks.proxy)
    tags = newest_tags((head.name or "" for head in heads), Range.parse(request.wanted.semver))
    if not tags:
        raise NoRef(f"unable to clone '{request.url}': no match found for semver: {request.wanted.semver}")
    found = [request.wanted.at_tag(tag) for tag in tags]
    if len(found) == 1:
        return found[0]
    times = [_commit_time(repo, _tip(repo, replace(request, wanted=each), callbacks)[0]) for each in found]
    return found[times.index(max(times))]


def _commit_time(repo: pygit2.Repository, commit: str) -> int:
    return int(repo[commit].peel(pygit2.Commit).commit_time)


def _tip(repo: pygit2.Repository, request: Request, callbacks: _Callbacks) -> tuple[str, str]:
    """The commit at the wanted ref, and the annotated tag that leads to it, "" without one."""
    incoming = INCOMING + secrets.token_hex(8)
    try:
        _fetch(repo, request, callbacks, f"+{request.wanted.source}:{incoming}")
        found = repo.references.get(incoming)
        if found is None:
            raise _missing(repo, request, callbacks)
        try:
            commit = str(found.peel(pygit2.Commit).id)
        except pygit2.InvalidSpecError as error:
            raise NoCommit(f"'{request.wanted.source}' of '{request.url}' does not lead to a commit") from error
        return commit, "" if str(found.target) == commit else str(found.target)
    finally:
        if incoming in repo.references:
            repo.references.delete(incoming)


def _fetch(repo: pygit2.Repository, request: Request, callbacks: _Callbacks, refspec: str) -> None:
    """Bring the objects of one ref, in the cheapest way that is sound for this store."""
    if not any(name.startswith(PRIVATE) for name in repo.references):
        _fetch_newest(repo, request, callbacks, refspec)
    elif depth.asks_newest_only(repo):
        remote = _remote(repo, request, callbacks)
        heads = remote.list_heads(callbacks=callbacks, proxy=callbacks.proxy)
        if any(head.name == request.wanted.source and head.oid in repo for head in heads):
            remote.fetch(
                [refspec], callbacks=callbacks, proxy=callbacks.proxy
            )  # by the list that it has just read; there is nothing to bring
        else:
            _fetch_newest(repo, request, callbacks, refspec)
    else:
        callbacks.most_objects = request.most_objects
        try:
            _remote(repo, request, callbacks).fetch([refspec], callbacks=callbacks, proxy=callbacks.proxy)
        except _TooMuch:
            if _fetch_newest(repo, request, callbacks, refspec) <= request.most_objects:
                depth.ask_newest_only(repo)  # it was history, and will be again at the next merge


def _fetch_newest(repo: pygit2.Repository, request: Request, callbacks: _Callbacks, refspec: str) -> int:
    """Fetch without history; returns how many objects came."""
    callbacks.most_objects = 0
    return _fetch_to_depth(repo, request, callbacks, [refspec], 1)


def _fetch_to_depth(repo: pygit2.Repository, request: Request, callbacks: _Callbacks, refspecs: list[str], depth: int) -> int:
    try:
        return _remote(repo, request, callbacks).fetch(refspecs, callbacks=callbacks, proxy=callbacks.proxy, depth=depth).total_objects
    except pygit2.GitError as error:
        if "shallow" not in str(error):
            raise
        return (
            _remote(repo, request, callbacks).fetch(refspecs, callbacks=callbacks, proxy=callbacks.proxy).total_objects
        )  # the server cannot leave history out


def _pinned(repo: pygit2.Repository, request: Request, callbacks: _Callbacks, before: str) -> str:
    """The pinned commit, see service.sources.pinned."""
    want = request.wanted
    if before == want.commit and want.commit in repo:
        return want.commit  # an id names the same content for ever
    found = bring(repo, want, _Wire(repo, request, callbacks))
    if found is None:
        raise _missing(repo, request, callbacks)
    if not found:
        where = f"branch '{want.label}'" if want.label else "any branch or tag"
        raise NoRef(f"unable to clone '{request.url}': commit '{want.commit}' is not on {where}")
    return want.commit


@dataclass(frozen=True, slots=True)
class _Wire:
    """See service.sources.pinned.Wire."""

    repo: pygit2.Repository
    request: Request
    callbacks: _Callbacks

    def heads(self) -> Sequence[Head]:
        found = _remote(self.repo, self.request, self.callbacks).list_heads(callbacks=self.callbacks, proxy=self.callbacks.proxy)
        return [Head(name=head.name or "", id=str(head.oid)) for head in found]

    def fetch(self, refspecs: list[str], depth: int) -> None:
        _fetch_to_depth(self.repo, self.request, self.callbacks, refspecs, depth)


def _missing(repo: pygit2.Repository, request: Request, callbacks: _Callbacks) -> FetchError:
    if not _remote(repo, request, callbacks).list_heads(callbacks=callbacks, proxy=callbacks.proxy):
        return RemoteEmpty("git repository is empty")
    return NoRef(f"unable to clone '{request.url}': couldn't find remote ref \"{request.wanted.source}\"")


def _remote(repo: pygit2.Repository, request: Request, callbacks: _Callbacks) -> pygit2.Remote:
    """A fresh remote each time: one that listed refs once goes on with that list. Anonymous, so it follows no tags and is not stored."""
    callbacks.connects()
    return repo.remotes.create_anonymous(request.url)


def _opened(store: Path) -> pygit2.Repository:
    try:
        return repository(store)
    except pygit2.GitError as error:
        raise BadStore(f"the Git store cannot be opened: {error}") from error


def _target(repo: pygit2.Repository, name: str) -> str:
    found = repo.references.get(name)
    return str(found.target) if found is not None else ""


def _translated(error: Exception, request: Request) -> FetchError:
    text = masked(str(error), request.credentials)
    lead = f"unable to clone '{masked(request.url)}': "
    if "loose object" in text:  # our own, such as one that a power cut has left empty
        return BadStore(f"the Git store is damaged: {text}")
    if "hostkey" in text or "exchange encryption keys" in text:  # only such kinds of keys are offered as are known
        why = "the remote's host key is not in the key 'known_hosts' of spec.secretRef; check that it is the right host, and add its key"
        return RemoteFailed(f"{lead}{why}")
    if "authenticate SSH" in text:
        return AuthRefused(f"{lead}{text}; check the keys 'identity' and 'password' of spec.secretRef")
    if "401" in text or "403" in text or "authentication" in text:
        return AuthRefused(f"{lead}authentication required: {text}; check spec.secretRef and the rights of its user or token")
    if "404" in text or "410" in text:
        hint = "" if request.credentials.given else ", or it is private and needs spec.secretRef"
        return RemoteGone(f"{lead}repository not found{hint}: {text}")
    if "SSL" in text or "certificate" in text:
        is_named = "early EOF" not in text  # libgit2's words for a certificate of another host
        why = (
            "a private CA belongs into the key ca.crt of spec.secretRef" if is_named else "is its certificate one for the host of spec.url?"
        )
        return RemoteFailed(f"{lead}{text}; {why}")
    if "redirect" in text:
        return RemoteFailed(f"{lead}{text}; write the address that the remote redirects to into spec.url")
    if "timed out" in text or "timeout" in text:
        return Stopped(f"{lead}{text}")
    if isinstance(error, OSError | KeyError) and not isinstance(error, pygit2.GitError):
        return BadStore(f"the Git store is damaged: {text}")
    return RemoteFailed(f"{lead}{text}")


def prepare(connect: timedelta, silence: timedelta) -> None:
    """Set what libgit2 keeps per process: its network time limits, and that it reads nobody's Git configuration."""
    pygit2.settings.server_connect_timeout = round(connect.total_seconds() * 1000)
    pygit2.settings.server_timeout = round(silence.total_seconds() * 1000)
    pygit2.settings.owner_validation = False  # a volume's files may belong to another user than the one we run as
    for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""


def trust(ca: bytes) -> None:
    """Trust the PEM certificates beside the system's, in all of this process from now on: only for a process made for one remote."""
    with tempfile.NamedTemporaryFile(prefix="ca-", suffix=".pem") as file:
        file.write(ca)
        file.flush()
        pygit2.settings.set_ssl_cert_locations(file.name, None)
