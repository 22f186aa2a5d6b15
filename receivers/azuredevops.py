"""Azure DevOps: Azure Repos, Services and Server.

Set up: Project settings > Service hooks > Create subscription > Web Hooks; the trigger "Code pushed"; any user name and the Receiver's
token as the basic authentication password, or the HTTP header `Authorization: Bearer <token>`; "Resource details to send": All.
Proof: `Authorization` holds the token.
Tells: repository, and each ref that moved with its commits; no changed files.
https://learn.microsoft.com/azure/devops/service-hooks/events#git.push
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from receivers.commits import commit_id
from receivers.contract import BadSignature, Credentials, Delivery, Event, GitPush, Sender, Verifier
from receivers.payload import Json, length_of, parse, text, text_or
from receivers.signature import authorization

MOST_REFS = 200  # of one push: more are as good as not told
_PATH = "(?P<project>[^/]+)/_git/(?P<repository>[^/]+)/?"
_NEW = re.compile(rf"https://(?:[^@/]+@)?dev\.azure\.com/(?P<organization>[^/]+)/{_PATH}")
_OLD = re.compile(rf"https://(?:[^@/]+@)?(?P<organization>[^./]+)\.visualstudio\.com/(?:DefaultCollection/)?{_PATH}")


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`. Raises BadSignature."""
    if "authorization" not in headers:
        raise BadSignature("Authorization is missing: set the Receiver's token as the service hook's basic authentication password")
    return authorization(headers["authorization"], credentials)


def delivery_id(headers: Mapping[str, str]) -> str:
    """Return the activity's id."""
    return headers.get("x-vss-activityid", "")


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return a GitPush for each ref that moved, () for other events and where only the least is sent. Raises BadPayload."""
    payload = parse(delivery.body)
    count = length_of(payload, "resource", "refUpdates") or 0
    remote = text_or(payload, "resource", "repository", "remoteUrl")
    if text_or(payload, "eventType") != "git.push" or not remote or count > MOST_REFS:
        return ()
    urls = spellings(remote)
    branch = text_or(payload, "resource", "repository", "defaultBranch").removeprefix("refs/heads/")
    return tuple(_push(payload, number, urls, branch) for number in range(count))


def spellings(remote: str) -> tuple[str, ...]:
    """Return all addresses of a repository: by https and ssh, in the new form and the old, where `remote` is one of them."""
    found = _NEW.fullmatch(remote) or _OLD.fullmatch(remote)
    if found is None:
        return (remote,)
    organization, project, repository = found["organization"], found["project"], found["repository"]
    short = f"v3/{organization}/{unquote(project)}/{unquote(repository)}"
    return (
        f"https://dev.azure.com/{organization}/{project}/_git/{repository}",
        f"https://{organization}.visualstudio.com/{project}/_git/{repository}",
        f"https://{organization}.visualstudio.com/DefaultCollection/{project}/_git/{repository}",
        f"git@ssh.dev.azure.com:{short}",
        f"{organization}@vs-ssh.visualstudio.com:{short}",
    )


def _push(payload: Json, number: int, urls: tuple[str, ...], branch: str) -> GitPush:
    update = ("resource", "refUpdates", number)
    after = commit_id(payload, *update, "newObjectId")
    return GitPush(
        urls=urls,
        ref=text(payload, *update, "name"),
        before=commit_id(payload, *update, "oldObjectId"),
        after=after,
        deleted=not after,
        default_branch=branch,
    )


AZUREDEVOPS = Sender(type="azuredevops", verifier=verifier, read=read, delivery_id=delivery_id)
