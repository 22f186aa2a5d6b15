"""GitRepository's spec.verify: what was fetched in, the condition SourceVerified out, or the run ends and nothing of it counts.

A commit that was good once is not checked again while mode and keys stay the same. The store remembers the last good commit, which is what
a restart goes on with. https://github.com/fluxcd/source-controller/blob/main/docs/spec/v1/gitrepositories.md#verification
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from service.kinds import meta
from service.kinds.meta import Condition
from service.kinds.source import GitRepository
from service.reconcile.conditions import condition
from service.sources.armour import SignatureRefused
from service.sources.failure import EndedEarly, Failure
from service.sources.gitref import Wanted
from service.sources.gitsignature import Keys, commit_signer, tag_signer
from service.sources.gitstore import GitStore
from service.sources.transfer import Fetched

ReadSecret = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
TAG_MODES, HEAD_MODES = ("Tag", "TagAndHEAD"), ("HEAD", "TagAndHEAD")
_TAGS = "refs/tags/"


@dataclass(frozen=True, slots=True)
class Good:
    """A check that succeeded: what was looked at, and what the condition says."""

    commit: str
    tag: str
    mode: str
    keys: str
    words: str


class GitVerification:
    """The checks of all GitRepositories. `plan` before a fetch, `check` after it, before anybody is told."""

    def __init__(self, gitstore: GitStore, read_secret: ReadSecret) -> None:
        self._gitstore = gitstore
        self._read_secret = read_secret
        self._good: dict[str, Good] = {}  # by uid

    async def plan(self, found: GitRepository, want: Wanted) -> tuple[Wanted, Keys | None]:
        """What to fetch so that it can be checked, and with which keys; None where nothing is. Raises EndedEarly, ApiError, ApiAway."""
        verify, namespace = found.spec.verify, found.metadata.namespace
        if verify is None:
            return want, None
        if not verify.secret_ref:
            raise EndedEarly.invalid("spec.verify.secretRef is missing: name the Secret with the trusted public keys")
        if verify.mode in TAG_MODES and (want.commit or not want.source.startswith(_TAGS)):
            why = "cannot verify tag object's signature if a tag reference is not specified"
            raise _unverified("InvalidVerificationMode", why, stalls=True)
        data = await self._read_secret(namespace, verify.secret_ref)
        if data is None:
            why = f"public keys secret error: secret '{namespace}/{verify.secret_ref}': secrets \"{verify.secret_ref}\" not found"
            raise _unverified(meta.VERIFICATION_ERROR, why)
        return replace(want, with_tag=verify.mode in TAG_MODES), Keys.of(data)

    async def check(self, found: GitRepository, want: Wanted, fetched: Fetched, keys: Keys | None) -> None:
        """Return if all that must be signed is. Raises EndedEarly, SnapshotGone, OSError."""
        uid = found.metadata.uid
        if keys is None or found.spec.verify is None:
            self._good.pop(uid, None)
            if found.status.source_verification_mode:  # what was good long ago must not come back after a restart
                await self._gitstore.mark_verified(uid, fetched.store, "")
            return
        mode, known = _shown(found.spec.verify.mode), self._good.get(uid)
        now = Good(fetched.commit, fetched.tag, mode, keys.digest, "")
        if known is None or replace(known, words="") != now:
            name = (fetched.label or want.source).removeprefix(_TAGS).removesuffix("^{}")
            words = await asyncio.to_thread(_checked, fetched, name, mode, keys)
            await self._mark(uid, fetched)
            self._good[uid] = replace(now, words=words)

    async def _mark(self, uid: str, fetched: Fetched) -> None:
        try:
            await self._gitstore.mark_verified(uid, fetched.store, fetched.commit)
        except OSError as error:
            why = f"failed to keep that the signature of commit '{fetched.commit}' is good: {error}"
            raise EndedEarly(Failure(condition=meta.STORAGE_FAILED, reason=meta.GIT_OPERATION_FAILED, message=why)) from error

    def conditions(self, found: GitRepository) -> tuple[Condition, ...]:
        """SourceVerified, after a check."""
        good = self._good.get(found.metadata.uid)
        if good is None:
            return ()
        return (condition(meta.SOURCE_VERIFIED, "True", meta.SUCCEEDED, good.words, found.metadata.generation),)

    def mode(self, found: GitRepository) -> str | None:
        """What status.sourceVerificationMode says."""
        return _shown(found.spec.verify.mode) if found.spec.verify is not None else None

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._good.pop(uid, None)


def _checked(fetched: Fetched, name: str, mode: str, keys: Keys) -> str:
    """Check what the mode asks for; returns Flux's words. Raises EndedEarly, SnapshotGone."""
    said = []
    if mode in TAG_MODES:
        if not fetched.tag:
            raise _unverified("InvalidGitObject", f"cannot verify signature of tag '{name}' since it is not signed")
        tag = f"{name}@{fetched.tag}"
        try:
            said.append(f"tag '{tag}' with key '{tag_signer(fetched.store, fetched.tag, name, keys)}'")
        except SignatureRefused as error:
            raise _unverified("InvalidTagSignature", f"signature verification of tag '{tag}' failed: {error}") from error
    if mode in HEAD_MODES:
        try:
            said.append(f"commit '{fetched.commit}' with key '{commit_signer(fetched.store, fetched.commit, keys)}'")
        except SignatureRefused as error:
            raise _unverified("InvalidCommitSignature", f"signature verification of commit '{fetched.commit}' failed: {error}") from error
    return "verified signature of" + "".join(f"\n\t- {each}" for each in said)


def _shown(mode: str) -> str:
    return "HEAD" if mode == "head" else mode


def _unverified(reason: str, message: str, *, stalls: bool = False) -> EndedEarly:
    return EndedEarly(Failure(condition=meta.SOURCE_VERIFIED, reason=reason, message=message, stalls=stalls))
