"""What registries, Git hosts and buckets of the clouds are shown: a remote's host in, a dialogue that ends with what opens it out.

Credentials are made only for hosts of the cloud itself: of public clouds, and of AWS in China. The formats: Amazon's registries, CodeCommit
(a signature stands for the password, for a quarter of an hour), Azure's registries, Azure DevOps, Google's registries.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
https://github.com/aws/git-remote-codecommit
https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
https://learn.microsoft.com/en-us/azure/devops/integrate/get-started/authentication/service-principal-managed-identity
https://cloud.google.com/artifact-registry/docs/docker/authentication#token
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import urlencode, urlsplit

from providers.answers import check, json_of
from providers.aws_signature import Keys, authorization, signature
from providers.contract import Exchange, Grant, Identity, Rejected, Request, Secret
from providers.identity import HOUR, aws_keys, azure_token, google_token
from service.identities.accounts import Cloud
from service.identities.grants import NotGranted

T = TypeVar("T")

_ECR = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]{1,30})\.amazonaws\.com(\.cn)?")
_ECR_PUBLIC = "public.ecr.aws"
_ACR = re.compile(r"[a-z0-9-]{1,100}\.azurecr\.io")
_GAR = re.compile(r"(?:[a-z0-9-]{1,60}\.)?gcr\.io|[a-z0-9-]{1,60}-docker\.pkg\.dev")
_CODE_COMMIT = re.compile(r"git-codecommit(?:-fips)?\.([a-z0-9-]{1,30})\.amazonaws\.com(\.cn)?")
_DEV_OPS = re.compile(r"dev\.azure\.com|[a-z0-9-]{1,100}\.visualstudio\.com")
_S3 = re.compile(r"s3[a-z0-9.-]{0,100}\.amazonaws\.com(\.cn)?")
_REGION = re.compile(r"[a-z0-9-]{1,30}")
_STORAGE = "https://storage.azure.com/.default"
_RESOURCES, _DEV_OPS_SCOPE = "https://management.azure.com/.default", "499b84ac-1321-427f-aa17-267ca6975798/.default"
_REFUSALS = range(300, 500)
_ACR_USER = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who logs in."""

    name: str = field(repr=False)  # CodeCommit's holds the session
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way(Generic[T]):
    """How credentials for one remote are got. `purpose` is what they can be kept by."""

    purpose: str
    exchange: Callable[[Identity], Exchange[T]]


AwsKeys = dict[str, Secret]


def to_registry(cloud: Cloud, host: str, now: Callable[[], datetime]) -> Way[User]:
    """Return the way to a log-in at a registry. Raises NotGranted where it is none of the cloud's."""
    match cloud:
        case "aws" if host == _ECR_PUBLIC:
            return Way(purpose=host, exchange=lambda identity: _ecr(identity, "ecr-public", "us-east-1", now=now))
        case "aws" if found := _ECR.fullmatch(host):
            return Way(purpose=host, exchange=lambda identity: _ecr(identity, "ecr", found[1], now=now, china=bool(found[2])))
        case "azure" if _ACR.fullmatch(host):
            return Way(purpose=host, exchange=lambda identity: _acr(identity, host))
        case "gcp" if _GAR.fullmatch(host):
            return Way(purpose="registries", exchange=_gar)
    raise NotGranted(f"{host} is no registry of {cloud} that credentials are made for: correct spec.provider or spec.url")


def to_code_commit(url: str) -> Way[AwsKeys]:
    """Return the way to the keys that `code_commit_user` signs with. Raises NotGranted."""
    region, china = _code_commit(url)
    return Way(purpose=f"keys in {region}", exchange=lambda identity: aws_keys(identity, region, china=china))


def to_dev_ops(url: str) -> Way[str]:
    """Return the way to a token for a repository of Azure DevOps. Raises NotGranted."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not _DEV_OPS.fullmatch(parts.hostname or ""):
        raise NotGranted("spec.url is no https address of Azure DevOps: correct it or spec.provider")
    return Way(purpose=_DEV_OPS_SCOPE, exchange=lambda identity: azure_token(identity, _DEV_OPS_SCOPE))


def to_bucket_keys(host: str, region: str) -> Way[AwsKeys]:
    """Return the way to the keys for a bucket of S3. Raises NotGranted where the host is none of Amazon's."""
    found = _S3.fullmatch(host)
    if found is None or not _REGION.fullmatch(region):
        raise NotGranted("spec.endpoint is no host of amazonaws.com, or spec.region no region: correct them")
    return Way(purpose=f"keys in {region}", exchange=lambda identity: aws_keys(identity, region, china=bool(found[1])))


def to_bucket_token(cloud: Cloud) -> Way[str]:
    """Return the way to a token for buckets of Azure or Google."""
    if cloud == "azure":
        return Way(purpose=_STORAGE, exchange=lambda identity: azure_token(identity, _STORAGE))
    return Way(purpose="buckets", exchange=google_token)


def code_commit_user(keys: AwsKeys, url: str, now: datetime) -> User:
    """Return the user of one fetch from CodeCommit, good for 15 minutes. Raises NotGranted."""
    region, _ = _code_commit(url)
    parts, stamp = urlsplit(url), f"{now:%Y%m%dT%H%M%S}"
    signing = Keys(identity=keys["accessKeyID"].reveal(), secret=keys["secretAccessKey"].reveal(), region=region, service="codecommit")
    said = f"GIT\n{parts.path}\n\nhost:{parts.hostname}\n\nhost\n"  # without the body's hash, unlike all others of AWS
    password = f"{stamp}Z{signature(signing, said, moment=stamp)}"
    return User(name=f"{signing.identity}%{keys['sessionToken'].reveal()}", password=password)


def _code_commit(url: str) -> tuple[str, bool]:
    parts = urlsplit(url)
    found = _CODE_COMMIT.fullmatch(parts.hostname or "")
    if parts.scheme != "https" or found is None:
        raise NotGranted("spec.url is no https address of AWS CodeCommit: correct it or spec.provider")
    return found[1], bool(found[2])


def _ecr(identity: Identity, service: str, region: str, *, now: Callable[[], datetime], china: bool = False) -> Exchange[User]:
    held = (yield from aws_keys(identity, region, china=china)).value
    host = f"api.{service}.{region}.amazonaws.com{'.cn' if china else ''}"
    target = "SpencerFrontendService" if service == "ecr-public" else "AmazonEC2ContainerRegistry_V20150921"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Date": f"{now():%Y%m%dT%H%M%SZ}",
        "X-Amz-Security-Token": held["sessionToken"].reveal(),
        "X-Amz-Target": f"{target}.GetAuthorizationToken",
    }
    keys = Keys(identity=held["accessKeyID"].reveal(), secret=held["secretAccessKey"].reveal(), region=region, service=service)
    url, body = f"https://{host}/", b"{}"
    headers["Authorization"] = authorization(keys, "POST", url, headers=headers | {"Host": host}, body=body)
    answer = yield Request(method="POST", url=Secret(url), headers=headers, body=body)
    words = f"let the role do {service}:GetAuthorizationToken"
    check("ECR", answer, to_do=dict.fromkeys(_REFUSALS, words))
    data = json_of("ECR", answer)
    entry = data.get("authorizationData") if isinstance(data, dict) else None
    entry = entry[0] if isinstance(entry, list) and entry else entry
    token = entry.get("authorizationToken") if isinstance(entry, dict) else None
    try:
        name, colon, password = base64.b64decode(str(token), validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon or not name or not password or not (name + password).isprintable():
        raise Rejected("ECR gave no log-in for the role")
    return Grant(value=User(name=name, password=password), valid=HOUR)  # it says 12 hours


def _acr(identity: Identity, host: str) -> Exchange[User]:
    token = yield from azure_token(identity, _RESOURCES)
    form = {"grant_type": "access_token", "service": host, "access_token": token.value}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = yield Request(method="POST", url=Secret(f"https://{host}/oauth2/exchange"), headers=headers, body=urlencode(form).encode())
    words = "give the client of the ServiceAccount's annotation the role AcrPull at the registry"
    check("The registry", answer, to_do=dict.fromkeys(_REFUSALS, words))
    found = json_of("The registry", answer)
    password = found.get("refresh_token") if isinstance(found, dict) else None
    if not isinstance(password, str) or not password.isascii() or not password.isprintable() or not password:
        raise Rejected("the registry gave no token for that of Entra ID")
    return Grant(value=User(name=_ACR_USER, password=password), valid=HOUR)  # it is good for three


def _gar(identity: Identity) -> Exchange[User]:
    token = yield from google_token(identity)
    return Grant(value=User(name="oauth2accesstoken", password=token.value), valid=token.valid)
