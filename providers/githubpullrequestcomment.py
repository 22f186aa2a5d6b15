"""githubpullrequestcomment: one comment on a pull request of GitHub for each object, edited in place.

Credentials: at https://github.com/settings/personal-access-tokens make a fine-grained token with the repository permission "Pull
requests: write" and put it into the Secret's key `token`; or install a GitHub App with that permission and put `githubAppID`,
`githubAppInstallationID` and `githubAppPrivateKey` there. The address is the repository's URL; the number comes from the object's
annotation `event.toolkit.fluxcd.io/change_request`. Sent is Markdown with the object, the message and the metadata. The format:
https://docs.github.com/en/rest/issues/comments
"""

from collections.abc import Generator

from providers.answers import check, json_of, json_request
from providers.change_request import PER_PAGE, Thread, body_of, is_by, login_of, marker_of, number_of, upsert
from providers.contract import Dialogue, Event, Request, Response, Target
from providers.github_app import TO_DO, api_of, app_proof, authenticate, get, headers_of


def converse(event: Event, target: Target) -> Dialogue:
    """Write the comment. Raises Misconfigured, Rejected, Busy."""
    api, owner, name = api_of(target)
    number, marker = number_of(event), marker_of(event, target, "flux-pr-comment-key")
    token = yield from authenticate(target)
    author = yield from _author(api, token, target)
    repository, headers, body = f"{api}/repos/{owner}/{name}", headers_of(token), {"body": body_of(event, marker)}
    comments = f"{repository}/issues/{number}/comments"
    thread = Thread(
        page=lambda at: get(f"{comments}?per_page={PER_PAGE}&page={at}", token),
        is_ours=lambda entry: is_by(entry, author, person="user", login="login", marker=marker),
        create=json_request(comments, body, headers=headers),
        edit=lambda found: json_request(f"{repository}/issues/comments/{found}", body, headers=headers, method="PATCH"),
    )
    yield from upsert("GitHub", thread, to_do=TO_DO)


def _author(api: str, token: str, target: Target) -> Generator[Request, Response, str]:
    """Under which name our comments stand there: a user's, or `<app>[bot]`."""
    is_app = not target.token and not target.password
    answer = yield get(f"{api}/app", app_proof(target)) if is_app else get(f"{api}/user", token)
    check("GitHub", answer, to_do=TO_DO)
    found = json_of("GitHub", answer)
    return f"{login_of('GitHub', found, 'slug')}[bot]" if is_app else login_of("GitHub", found, "login")
