"""How GitHub's API is reached: its address, and a token, given or of a GitHub App.

In: a target. Out: requests' headers; for an App, a dialogue that exchanges its key for a token of an hour.
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from collections.abc import Generator
from datetime import timedelta
from urllib.parse import quote, urlsplit

from providers.answers import json_of, json_request
from providers.contract import Misconfigured, Rejected, Request, Response, Secret, Target
from providers.forge import Repository, repository_of, token_of
from providers.jwt import signed

APP_KEYS = ("githubAppID", "githubAppInstallationID", "githubAppInstallationOwner", "githubAppPrivateKey", "githubAppBaseURL")
TO_DO = {
    401: "put a valid token into the Secret",
    403: "give the token the right to write there: statuses, contents or pull requests",
    404: "check spec.address, and that the token may see the repository",
    422: "the commit or the pull request is not in this repository: check spec.address",
}


def api_of(target: Target) -> tuple[str, str, str]:
    """The API's address, the owner and the repository. Raises Misconfigured."""
    repository: Repository = repository_of(target)
    if repository.path.count("/") != 1:
        raise Misconfigured("the address is not one of a repository: set spec.address to https://<host>/<owner>/<repository>")
    base, owner, name = repository.split()
    host = urlsplit(base).hostname or ""
    if host in ("github.com", "www.github.com", "ssh.github.com"):
        return "https://api.github.com", owner, name
    return f"https://api.{host}" if host.endswith(".ghe.com") else f"{base}/api/v3", owner, name  # data residency, or a server of one's own


def headers_of(token: str) -> dict[str, str]:
    """The headers of each request."""
    return {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "Authorization": f"Bearer {token}"}


def get(url: str, token: str) -> Request:
    """A request that reads."""
    return Request(method="GET", url=Secret(url), headers=headers_of(token), body=b"")


def authenticate(target: Target) -> Generator[Request, Response, str]:
    """Return a token: the given one, or one for the App's installation. Raises Misconfigured, Rejected, Busy."""
    if target.token or target.password or not target.keys:
        return token_of(target)
    api, owner, name = api_of(target)
    if "githubAppBaseURL" in target.keys:
        api = target.keys["githubAppBaseURL"].reveal().rstrip("/")
    proof = app_proof(target)
    if "githubAppInstallationID" in target.keys:
        installation = target.keys["githubAppInstallationID"].reveal()
    else:
        installation = yield from _installation(api, f"{owner}/{name}", proof, target)
    if not installation.isascii() or not installation.isdigit():
        raise Misconfigured("the Secret's key githubAppInstallationID is not a number: copy it from the installation's page")
    url = f"{api}/app/installations/{installation}/access_tokens"
    given = json_of("GitHub", (yield json_request(url, {}, headers=headers_of(proof))))
    token = given.get("token") if isinstance(given, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise Rejected("GitHub gave no token for the App: check its installation")
    return token


def _installation(api: str, repository: str, proof: str, target: Target) -> Generator[Request, Response, str]:
    """The number of the installation at the named owner, else at the repository."""
    places = [f"repos/{repository}"]
    if "githubAppInstallationOwner" in target.keys:
        owner = quote(target.keys["githubAppInstallationOwner"].reveal(), safe="")
        places = [f"orgs/{owner}", f"users/{owner}"]
    for place in places:
        answer = yield get(f"{api}/{place}/installation", proof)
        if answer.status != 404:
            break
    if answer.status == 404:
        raise Misconfigured("the App is not installed there: install it, or correct githubAppInstallationOwner or spec.address")
    found = json_of("GitHub", answer)
    return str(found.get("id", "")) if isinstance(found, dict) else ""


def app_proof(target: Target) -> str:
    """The App's signed claim to be itself, good for ten minutes. Raises Misconfigured."""
    if "githubAppID" not in target.keys:
        raise Misconfigured("the App has no number: put it into the Secret's key githubAppID")
    if "githubAppPrivateKey" not in target.keys:
        raise Misconfigured("the App has no key: put it into the Secret's key githubAppPrivateKey")
    now = target.now
    claims = {"iat": now - timedelta(minutes=1), "exp": now + timedelta(minutes=9)}
    body: dict[str, object] = {name: int(moment.timestamp()) for name, moment in claims.items()} | {
        "iss": target.keys["githubAppID"].reveal()
    }
    proof = signed(body, target.keys["githubAppPrivateKey"].reveal())
    if proof is None:
        raise Misconfigured("the Secret's key githubAppPrivateKey is not an RSA key in PEM form: store the file as GitHub gave it")
    return proof
