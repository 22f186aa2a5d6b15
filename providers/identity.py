"""A ServiceAccount's token becomes credentials of a cloud, by that cloud's own exchange: no secret is stored anywhere.

In: a token that the cluster has signed for the ServiceAccount, and what the account's annotations say. Out: dialogues that return a token,
or AWS' keys, and for how long they are good. Sources go this way too (service.identities). The formats: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token and
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal
from urllib.parse import quote, urlencode

from providers.answers import check, json_of, json_request
from providers.contract import Exchange, Grant, Identity, Misconfigured, Rejected, Request, Secret

CLIENT, TENANT = "azure.workload.identity/client-id", "azure.workload.identity/tenant-id"
POOL, ACCOUNT = "gcp.auth.fluxcd.io/workload-identity-provider", "iam.gke.io/gcp-service-account"
ROLE = "eks.amazonaws.com/role-arn"
_FORMS: Mapping[str, str] = {
    CLIENT: r"[0-9a-fA-F-]{36}",
    TENANT: r"[0-9a-fA-F-]{36}|[a-z0-9.-]{4,100}",
    POOL: r"projects/\d{1,30}/locations/global/workloadIdentityPools/[^/\s]{1,100}/providers/[^/\s]{1,100}",
    ACCOUNT: r"[a-z0-9-]{1,100}@[a-z0-9.-]{1,100}\.iam\.gserviceaccount\.com",
    ROLE: r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}",
}
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_KEYS = ("AccessKeyId", "SecretAccessKey", "SessionToken")
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


def audience(cloud: Literal["aws", "azure", "gcp"], annotations: Mapping[str, str]) -> str:
    """For whom the cluster must sign the token. Raises Misconfigured."""
    match cloud:
        case "azure":
            return "api://AzureADTokenExchange"
        case "aws":
            return "sts.amazonaws.com"
        case "gcp":
            return f"//iam.googleapis.com/{_said(annotations, POOL)}"


def azure_token(identity: Identity, scope: str) -> Exchange[str]:
    """Return a token of Microsoft Entra ID. Raises Misconfigured, Rejected, Busy."""
    tenant, client = _said(identity.annotations, TENANT), _said(identity.annotations, CLIENT)
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "scope": scope,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": identity.token.reveal(),
    }
    answer = yield _form(f"https://login.microsoftonline.com/{quote(tenant)}/oauth2/v2.0/token", form)
    words = "trust the cluster's issuer and this ServiceAccount in a federated credential of the client"
    check("Entra ID", answer, to_do={400: words, 401: words})
    found = json_of("Entra ID", answer)
    return Grant(value=_text(found, "access_token", "Entra ID"), valid=_valid(found))


def google_token(identity: Identity) -> Exchange[str]:
    """Return a token of Google, of the account that the annotation names if it does. Raises Misconfigured, Rejected, Busy."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": f"//iam.googleapis.com/{_said(identity.annotations, POOL)}",
        "scope": _SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": identity.token.reveal(),
    }
    answer = yield _form("https://sts.googleapis.com/v1/token", form)
    words = f"trust the cluster's issuer in the workload identity pool of {POOL}"
    check("Google", answer, to_do={400: words, 401: words})
    found = json_of("Google", answer)
    token = _text(found, "access_token", "Google")
    if ACCOUNT not in identity.annotations:
        return Grant(value=token, valid=_valid(found))
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{_said(identity.annotations, ACCOUNT)}:generateAccessToken"
    answer = yield json_request(
        url, {"scope": [_SCOPE], "lifetime": f"{HOUR.total_seconds():.0f}s"}, headers={"Authorization": f"Bearer {token}"}
    )
    check("Google", answer, to_do={403: "give the ServiceAccount the role Workload Identity User on the account of its annotation"})
    return Grant(value=_text(json_of("Google", answer), "accessToken", "Google"), valid=HOUR)


def aws_keys(identity: Identity, region: str, *, china: bool = False) -> Exchange[dict[str, Secret]]:
    """Return the keys `accessKeyID`, `secretAccessKey` and `sessionToken` of a role. Raises Misconfigured, Rejected, Busy."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": _said(identity.annotations, ROLE),
        "RoleSessionName": "sluice",
        "DurationSeconds": f"{QUARTER.total_seconds():.0f}",
        "WebIdentityToken": identity.token.reveal(),
    }
    answer = yield _form(f"https://sts.{region}.amazonaws.com{'.cn' if china else ''}/", form)
    words = "let the role trust the cluster's issuer and this ServiceAccount"
    check("STS", answer, to_do={400: words, 403: words})
    text = answer.body.decode(errors="replace")
    found = [re.search(f"<{name}>([A-Za-z0-9+/=_-]{{16,4096}})</{name}>", text) for name in _KEYS]
    if not all(found):
        raise Rejected("STS gave no keys for the role")
    names = ("accessKeyID", "secretAccessKey", "sessionToken")
    return Grant(value={name: Secret(each[1]) for name, each in zip(names, found, strict=True) if each}, valid=QUARTER)


def _said(annotations: Mapping[str, str], name: str) -> str:
    value = annotations.get(name, "")
    if not re.fullmatch(_FORMS[name], value, re.ASCII):
        raise Misconfigured(f"the ServiceAccount's annotation {name} is missing, or not of its form: correct it")
    return value


def _form(url: str, form: Mapping[str, str]) -> Request:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}
    return Request(method="POST", url=Secret(url), headers=headers, body=urlencode(form).encode())


def _text(body: object, key: str, name: str) -> str:
    token = body.get(key) if isinstance(body, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise Rejected(f"{name} gave no token for the ServiceAccount")
    return token


def _valid(body: object) -> timedelta:
    """What the answer says, at most a day; nothing where it does not."""
    seconds = body.get("expires_in") if isinstance(body, dict) else None
    return timedelta(seconds=min(int(str(seconds)[:9]), 86_400)) if re.fullmatch("[0-9]+", str(seconds)) else timedelta(0)
