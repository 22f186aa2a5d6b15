"""One visible table: what stands in it is what there is."""

import importlib
import pkgutil

import providers
from providers import PROVIDERS
from service.kinds.notification import PROVIDER_TYPES

SHARED = {"contract", "mrkdwn"}


def test_table_equals_the_modules() -> None:
    modules = {module.name for module in pkgutil.iter_modules(providers.__path__)} - SHARED
    assert {name.replace("-", "_").replace(".", "_") for name in PROVIDERS} == modules


def test_table_holds_types_of_the_crd_and_each_module_s_functions() -> None:
    assert set(PROVIDERS) <= set(PROVIDER_TYPES)
    for name, provider in PROVIDERS.items():
        module = importlib.import_module(f"providers.{name.replace('-', '_').replace('.', '_')}")
        assert (provider.render, provider.settle) == (module.render, module.settle)
