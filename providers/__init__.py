"""Alert -> message. Rendering is pure; each target is one module and one line of the table."""

from collections.abc import Mapping
from types import MappingProxyType

from providers import slack
from providers.contract import Provider

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "slack": Provider(render=slack.render, settle=slack.settle),
    }
)
