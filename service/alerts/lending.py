"""A Provider that acts as a ServiceAccount: what the account's cloud lends it, in the place of credentials.

In: the Provider, its type and its route. Out: the route with a token or keys, kept as long as they are good (`service.identities.grants`:
for each ServiceAccount, Provider's place and proxy by themselves). https://fluxcd.io/flux/installation/configuration/object-identity/
"""

from providers import contract
from service.alerts.route import Route
from service.identities.grants import Grants, Wanted
from service.kinds.notification import Provider

_MADE_UP: dict[str, contract.Lent] = {
    "aws": {name: contract.Secret("MADEUP") for name in ("accessKeyID", "secretAccessKey", "sessionToken")},
    "azure": "made-up",
    "gcp": "made-up",
}


def wanted_of(provider: Provider, by_type: contract.Provider, route: Route) -> Wanted | None:
    """What is to be lent, None where the Provider names no ServiceAccount."""
    account = provider.spec.service_account_name
    if not account or by_type.exchange is None or not by_type.identity:
        return None
    purpose = f"Provider of {provider.spec.type} at {route.target.channel} of {route.target.address.reveal()}"
    cloud = by_type.identity
    return Wanted(namespace=provider.metadata.namespace, account=account, cloud=cloud, purpose=purpose, proxy=route.proxy.reveal())


async def lent(wanted: Wanted | None, by_type: contract.Provider, route: Route, grants: Grants | None) -> Route:
    """The route with what is lent. Raises NotGranted, ApiError, ApiAway."""
    exchange = by_type.exchange
    if wanted is None or exchange is None or grants is None:  # without grants the catalog lets no such Provider through
        return route
    return route.lent(await grants.get(wanted, lambda identity: exchange(identity, route.target)))


def made_up(wanted: Wanted, route: Route) -> Route:
    """The same for a dry run, which asks no cloud."""
    return route.lent(_MADE_UP[wanted.cloud])
