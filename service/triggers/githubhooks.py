"""What GitHub itself knows of a Receiver's webhook: whether it is still there, and which deliveries did not get through.

In: Receivers of type github whose Secret holds `github-token`, a token that may read and write the webhooks of the repositories that they
name. Out: what is wrong with the hook, for the log and the admin port; deliveries that found nobody are asked for again, each once.
https://docs.github.com/en/rest/repos/webhooks
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from service.kinds.meta import ObjectKey
from service.outbound import Outbound, OutboundRefused, refusal_in
from service.triggers.index import Entry, ReceiverIndex

log = logging.getLogger(__name__)

API = "https://api.github.com"
TIMEOUT = aiohttp.ClientTimeout(total=20)
MOST_BYTES = 4 * 1024 * 1024
FIRST_LOOK, LOOK_EVERY = timedelta(seconds=15), timedelta(minutes=30)
MOST_AGAIN = 50  # deliveries at a look; what is older is in the ref anyway
MOST_REMEMBERED = 10_000
NOBODY_THERE = frozenset({0, 408, 429, 502, 503, 504})  # what a stopped or starting service and those before it answer

Json = Any
Repositories = Callable[[ObjectKey], Iterable[str]]


class GitHubSays(Exception):
    """GitHub gave no usable answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookState:
    """Of one Receiver: `problems` by repository, and how many deliveries were asked for again since the start."""

    problems: Mapping[str, str]
    again: int = 0


class GitHubHooks:
    """A room. `repositories` gives the `owner/name` of what a Receiver names; with `shadow` nothing is asked for again, only looked at."""

    def __init__(
        self,
        index: ReceiverIndex,
        repositories: Repositories,
        outbound: Outbound,
        *,
        shadow: bool = False,
        first_look: timedelta = FIRST_LOOK,
    ) -> None:
        self.states: dict[ObjectKey, HookState] = {}
        self._index = index
        self._repositories = repositories
        self._outbound = outbound
        self._shadow = shadow
        self._first_look = first_look
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._wake = asyncio.Event()

    def look(self) -> None:
        """A hook seems to be missing: look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look soon after the start, for what came while nobody was here, and now and then, until cancelled."""
        wait = self._first_look
        while True:
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            entries = [entry for entry in self._index.entries() if entry.held.github_token]
            self.states = {key: state for key, state in self.states.items() if key in {entry.key for entry in entries}}
            for entry in entries:
                await self._look_at(entry)
            wait = LOOK_EVERY

    async def _look_at(self, entry: Entry) -> None:
        before = self.states.get(entry.key, HookState(problems={}))
        problems: dict[str, str] = {}
        again = 0
        for repository in sorted(set(self._repositories(entry.key))):
            try:
                async with self._outbound.session(tls=True, timeout=TIMEOUT) as session:
                    again += await _Asking(session, entry).look_at(repository, self._is_new)
            except GitHubSays as error:
                problems[repository] = str(error)
                if before.problems.get(repository) != str(error):
                    log.warning("the hook at the host", extra={"object": str(entry.key), "repository": repository, "reason": str(error)})
        if again:
            log.info("deliveries asked for again", extra={"object": str(entry.key), "count": again})
        self.states[entry.key] = HookState(problems=problems, again=before.again + again)

    def _is_new(self, repository: str, guid: str) -> bool:
        """Whether a delivery was not asked for before; from now on it was."""
        if self._shadow or (repository, guid) in self._asked:
            return False
        self._asked[repository, guid] = None
        if len(self._asked) > MOST_REMEMBERED:
            self._asked.popitem(last=False)
        return True


class _Asking:
    """One look at one repository's hooks."""

    def __init__(self, session: aiohttp.ClientSession, entry: Entry) -> None:
        self._session = session
        self._entry = entry
        self._base = (entry.held.github_url or API).rstrip("/")

    async def look_at(self, repository: str, is_new: Callable[[str, str], bool]) -> int:
        """Return how many deliveries were asked for again. Raises GitHubSays."""
        owner, _, name = repository.partition("/")
        hooks = f"/repos/{quote(owner, safe='')}/{quote(name, safe='')}/hooks"
        hook = self._ours(await self._call("GET", f"{hooks}?per_page=100"))
        if hook is None:
            raise GitHubSays("no webhook of the repository has the Receiver's path: add it again, with status.webhookPath")
        if not hook.get("active", True):
            raise GitHubSays("the webhook is switched off: tick Active on its page")
        one = f"{hooks}/{int(hook['id'])}/deliveries"
        lost = _lost(await self._call("GET", f"{one}?per_page=100"))
        count = 0
        for delivery in lost[:MOST_AGAIN]:
            if is_new(repository, str(delivery["guid"])):
                await self._call("POST", f"{one}/{int(delivery['id'])}/attempts")
                count += 1
        return count

    def _ours(self, hooks: Json) -> Mapping[str, Json] | None:
        paths = {self._entry.path, self._entry.previous_path} - {""}
        for hook in hooks if isinstance(hooks, list) else ():
            if urlsplit(str((hook.get("config") or {}).get("url") or "")).path in paths:
                found: Mapping[str, Json] = hook
                return found
        return None

    async def _call(self, method: str, path: str) -> Json:
        """Raises GitHubSays."""
        headers = {
            "Authorization": f"Bearer {self._entry.held.github_token.decode('ascii', 'replace').strip()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "sluice",
        }
        try:
            async with self._session.request(method, f"{self._base}{path}", headers=headers, allow_redirects=False) as answer:
                if answer.status in (401, 403, 404):
                    raise GitHubSays(
                        f"GitHub answers {answer.status}: github-token must be allowed to read and write the repository's webhooks"
                    )
                if answer.status >= 300:
                    raise GitHubSays(f"GitHub answers {answer.status}")
                body = await answer.content.read(MOST_BYTES)
                return json.loads(body) if method == "GET" else None
        except (aiohttp.ClientError, OutboundRefused, OSError, TimeoutError, ValueError) as error:
            raise GitHubSays(f"GitHub does not answer: {refusal_in(error) or type(error).__name__}") from error


def _lost(deliveries: Json) -> Sequence[Mapping[str, Json]]:
    """The newest attempt of each delivery that nobody took, in the order in which they came."""
    newest: dict[str, Mapping[str, Json]] = {}
    taken: set[str] = set()
    for each in deliveries if isinstance(deliveries, list) else ():
        guid, status = str(each.get("guid") or ""), int(each.get("status_code") or 0)
        if guid and "id" in each:
            newest.setdefault(guid, each)
            if status not in NOBODY_THERE:
                taken.add(guid)
    return [each for guid, each in reversed(newest.items()) if guid not in taken]
