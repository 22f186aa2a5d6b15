"""bitbucketserver: a build status on Bitbucket Server or Data Center.

Credentials: in the repository's settings make an HTTP access token with the permission "Repository write" and put it into the Secret's
key `token`; or put `username` and `password` there. The address is the repository's clone URL over HTTP, with `/scm/` in it. Sent is
`SUCCESSFUL` or `FAILED`, unless the build says so already. The format:
https://developer.atlassian.com/server/bitbucket/rest/v906/api-group-builds-and-deployments/
"""

import hashlib
import re
from urllib.parse import quote, urlsplit

from providers.answers import address_of, basic, has_pair, json_request
from providers.card import is_error, line
from providers.contract import Dialogue, Event, Misconfigured, Request, Secret, Target
from providers.forge import commit_of, description, is_progress, latest_is, set_status, status_id

_PATH = re.compile(r"(.*)/scm/([\w.~-]+)/([\w.-]+?)(?:\.git)?/?", re.ASCII)
TO_DO = {401: "put valid credentials into the Secret", 403: "give the token the permission to write to the repository"}
TO_DO |= {404: "check spec.address, and that the token may see the repository"}


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    if is_progress(event):
        return
    address = address_of(target)
    headers = {"Authorization": _authorization(target), "X-Atlassian-Token": "no-check", "X-Requested-With": "XMLHttpRequest"}
    words = description(event)
    key = hashlib.sha1(status_id(event, target).encode(), usedforsecurity=False).hexdigest()  # a key has at most 40 characters
    wanted = {
        "key": key,
        "state": "FAILED" if is_error(event) else "SUCCESSFUL",
        "name": line(f"{line(f'{event.kind}/{event.name}'.lower(), 120)} [{words}]", 255),
        "description": words,
    }
    builds = f"{_commits(address)}/{commit_of(event)}/builds"
    yield from set_status(
        "Bitbucket",
        look=Request(method="GET", url=Secret(f"{builds}?key={key}"), headers=headers, body=b""),
        is_set=lambda found: latest_is([found], wanted, context="key"),
        put=json_request(builds, wanted | {"url": address}, headers=headers),
        to_do=TO_DO,
    )


def _commits(address: str) -> str:
    parts = urlsplit(address)
    found = _PATH.fullmatch(parts.path)
    if found is None or parts.scheme not in ("http", "https") or ".." in found[1]:
        raise Misconfigured("the address is not a clone URL over HTTP: set spec.address to https://<host>/scm/<project>/<repository>.git")
    context, project, name = quote(found[1], safe="/"), quote(found[2], safe="~"), quote(found[3], safe="")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{context}/rest/api/latest/projects/{project}/repos/{name}/commits"


def _authorization(target: Target) -> str:
    if target.token:
        return f"Bearer {target.token.reveal()}"
    if has_pair(target):
        return basic(target.username, target.password)
    raise Misconfigured("no credentials: put the key token, or username and password, into the Secret")
