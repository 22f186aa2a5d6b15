"""How a source logs in without a Secret of its own: its ServiceAccount in, what its remote is shown out.

Either the account's image pull secrets, or what the cloud of spec.provider gives to the account, where the operator lets it. Never sluice's
own identity. https://fluxcd.io/flux/components/source/ocirepositories/#provider
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from service.identities.accounts import Cloud
from service.identities.grants import NotGranted, Wanted
from service.identities.remotes import Way, to_registry
from service.kinds import meta
from service.sources.dockerconfig import BadDockerConfig, Login, login_for
from service.sources.failure import EndedEarly
from service.sources.manifests import Repository
from service.sources.reconciler import Needs
from service.sources.remote import held

T = TypeVar("T")

CLOUDS: dict[str, Cloud] = {"aws": "aws", "azure": "azure", "gcp": "gcp"}
ACCOUNT_ANNOTATION = "source.sluice.dev/service-account"
"""In the place of spec.serviceAccountName, at kinds that do not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who logs in: spec.provider and spec.serviceAccountName of an object, and its proxy. `field`: where the account is named."""

    namespace: str
    provider: str = "generic"
    account: str = ""
    proxy: str = ""
    field: str = "spec.serviceAccountName"


async def granted(holder: Holder, way_for: Callable[[], Way[T]], needs: Needs) -> T:
    """What the cloud gives to the account, for the remote that `way_for` is about. Raises EndedEarly, ApiError, ApiAway."""
    cloud = CLOUDS[holder.provider]
    if not holder.account:
        why = f"spec.provider {cloud} needs {holder.field}: sluice lends nobody its own identity. Or set generic, and name a Secret"
        raise EndedEarly.fetch(meta.INVALID_PROVIDER, why, stalls=True)
    if needs.grants is None:
        why = f"{holder.field} with spec.provider {cloud}: carried out with --workload-identity only, which is not set"
        raise EndedEarly.fetch(meta.FEATURE_GATE_DISABLED, why, stalls=True)
    try:
        way = way_for()
        return await needs.grants.get(_wanted(holder, way.purpose), way.exchange)
    except NotGranted as error:
        raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, f"failed to get credential from {cloud}: {error}") from error


def refused(holder: Holder, needs: Needs) -> None:
    """The remote did not let the account in: the next fetch asks the cloud anew."""
    if needs.grants is not None and holder.provider in CLOUDS and holder.account:
        needs.grants.doubt(_wanted(holder, ""))


async def registry_login(holder: Holder, secrets: Sequence[str], repository: Repository, needs: Needs) -> Login:
    """The log-in of the first Secret that has one for the repository, else the cloud's. Raises EndedEarly, ApiError, ApiAway."""
    names = [*secrets, *(await _pull_secrets(holder, needs) if holder.account else ())]
    for name in names:
        try:
            login = login_for(await held(needs.read_secret, holder.namespace, name), str(repository))
        except BadDockerConfig as error:
            raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, f"secret '{holder.namespace}/{name}': {error}") from error
        if login is not None:
            return login
    if names or holder.provider not in CLOUDS:
        return Login()
    user = await granted(holder, lambda: to_registry(CLOUDS[holder.provider], repository.host, lambda: datetime.now(UTC)), needs)
    return Login(username=user.name, password=user.password)


async def _pull_secrets(holder: Holder, needs: Needs) -> tuple[str, ...]:
    found = await needs.read_pull_secrets(holder.namespace, holder.account)
    if found is None:
        why = f"failed to get service account '{holder.namespace}/{holder.account}': there is none; create it or correct {holder.field}"
        raise EndedEarly.fetch(meta.AUTHENTICATION_FAILED, why)
    return found


def _wanted(holder: Holder, purpose: str) -> Wanted:
    cloud = CLOUDS[holder.provider]
    return Wanted(namespace=holder.namespace, account=holder.account, cloud=cloud, purpose=purpose, proxy=holder.proxy)
