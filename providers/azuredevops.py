"""azuredevops: a commit status on Azure DevOps.

Credentials: in User settings choose Personal access tokens, make one with the scope "Code: status", and put it into the Secret's key
`token`; or set `spec.serviceAccountName` to an account with Azure's annotations. The address is the repository's URL,
`https://dev.azure.com/<organisation>/<project>/_git/<repository>`. Sent is `succeeded` or `error` with the genre `fluxcd`, and the summary
after a colon, unless the last status of the context says so already. The format:
https://learn.microsoft.com/en-us/rest/api/azure/devops/git/statuses/create
"""

from urllib.parse import quote, unquote, urlsplit

from providers.answers import basic, json_request
from providers.card import is_error, line
from providers.contract import Dialogue, Event, Exchange, Identity, Lent, Misconfigured, Request, Secret, Target
from providers.forge import commit_of, description, is_progress, repository_of, set_status, status_id, token_of
from providers.identity import azure_token

TO_DO = {401: "put a valid token into the Secret's key token", 403: "give the token the scope Code: status"}
TO_DO |= {404: "check spec.address, and that the token may see the repository"}
GENRE = "fluxcd"
SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default"  # Azure DevOps, wherever it is


def converse(event: Event, target: Target) -> Dialogue:
    """Set the status of the event's commit. Raises Misconfigured, Rejected, Busy."""
    if is_progress(event):
        return
    token = token_of(target)
    headers = {"Authorization": f"Bearer {token}" if target.granted else basic("", Secret(token))}
    summary = line(event.metadata.get("summary", ""), 200)
    context = {"genre": f"{GENRE}:{summary}" if summary else GENRE, "name": status_id(event, target)}
    status = {"state": "error" if is_error(event) else "succeeded", "description": description(event)}
    statuses = f"{_repository(target)}/commits/{commit_of(event)}/statuses"

    def is_set(answer: object) -> bool:
        entries = answer.get("value") if isinstance(answer, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            found = entry.get("context") if isinstance(entry, dict) else None
            if isinstance(found, dict) and {name: found.get(name) for name in context} == context:
                return {name: entry.get(name) for name in status} == status
        return False

    yield from set_status(
        "Azure DevOps",
        look=Request(method="GET", url=Secret(f"{statuses}?latestOnly=true&api-version=7.1"), headers=headers, body=b""),
        is_set=is_set,
        put=json_request(f"{statuses}?api-version=7.1", status | {"context": context}, headers=headers),
        to_do=TO_DO,
    )


def exchange(identity: Identity, _target: Target) -> Exchange[Lent]:
    """Lead to a token for Azure DevOps. Raises Misconfigured, Rejected, Busy."""
    return (yield from azure_token(identity, SCOPE))


def _repository(target: Target) -> str:
    repository = repository_of(target)
    base, parts = repository.base, [unquote(part) for part in repository.path.split("/")]
    if urlsplit(base).hostname == "ssh.dev.azure.com" and parts[:1] == ["v3"]:
        base, parts = "https://dev.azure.com", [*parts[1:3], "_git", *parts[3:]]
    if len(parts) != 4 or parts[2] != "_git":
        raise Misconfigured("the address is not one of a repository: set it to https://dev.azure.com/<organisation>/<project>/_git/<name>")
    organisation, project, _, name = (quote(part, safe="") for part in parts)
    return f"{base}/{organisation}/{project}/_apis/git/repositories/{name}"
