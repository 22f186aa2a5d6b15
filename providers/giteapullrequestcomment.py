"""giteapullrequestcomment: one comment on a pull request of Gitea or Forgejo for each object, edited in place.

Credentials: in your settings choose Applications, make a token with the permissions "issue: read and write" and "user: read", and put it
into the Secret's key `token`. The address is the repository's URL; the number comes from the object's annotation
`event.toolkit.fluxcd.io/change_request`. Sent is Markdown with the object, the message and the metadata. The format:
https://docs.gitea.com/api/#tag/issue/operation/issueCreateComment
"""

from providers.answers import check, json_of, json_request
from providers.change_request import Thread, body_of, is_by, login_of, marker_of, number_of, upsert
from providers.contract import Dialogue, Event, Request, Secret, Target
from providers.forge import repository_of
from providers.gitea import TO_DO, api_of, headers_of


def converse(event: Event, target: Target) -> Dialogue:
    """Write the comment. Raises Misconfigured, Rejected, Busy."""
    repository, headers = api_of(target), headers_of(target)
    number, marker = number_of(event), marker_of(event, target, "flux-pr-comment-key")

    def get(url: str) -> Request:
        return Request(method="GET", url=Secret(url), headers=headers, body=b"")

    answer = yield get(f"{repository_of(target).split()[0]}/api/v1/user")
    check("Gitea", answer, to_do=TO_DO)
    author = login_of("Gitea", json_of("Gitea", answer), "login")
    comments, body = f"{repository}/issues/{number}/comments", {"body": body_of(event, marker)}
    thread = Thread(
        page=lambda _: get(comments),
        pages=1,  # it gives all of them at once
        is_ours=lambda entry: is_by(entry, author, person="user", login="login", marker=marker),
        create=json_request(comments, body, headers=headers),
        edit=lambda found: json_request(f"{repository}/issues/comments/{found}", body, headers=headers, method="PATCH"),
    )
    yield from upsert("Gitea", thread, to_do=TO_DO)
