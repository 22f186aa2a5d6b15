"""Alert -> message. Rendering is pure; each target is one module and one line of the table."""

from collections.abc import Mapping
from types import MappingProxyType

from providers import generic, generic_hmac, slack
from providers.contract import Provider

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "slack": Provider(render=slack.render, settle=slack.settle),
        "generic": Provider(render=generic.render, settle=generic.settle, wants="all", headers=True),
        "generic-hmac": Provider(render=generic_hmac.render, settle=generic_hmac.settle, wants="all", headers=True),
    }
)
