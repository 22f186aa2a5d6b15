"""One visible table: what stands in it is what there is, what the CRD allows, what is carried out, and what is documented."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import providers
from providers import PROVIDERS
from service.kinds.codec import refused_fields
from service.kinds.notification import PROVIDER_TYPES

SHARED = {
    "answers",
    "aws_signature",
    "card",
    "change_request",
    "contract",
    "flux_event",
    "forge",
    "github_app",
    "identity",
    "jwt",
    "mrkdwn",
}
SHARED |= {"slack_api", "slack_blocks", "slack_lasting", "slack_notes", "slack_words", "kafka_line", "nats_wire", "reason"}
FORMS = ("render", "settle", "converse", "place", "publish")
FOLDER = Path(providers.__path__[0])
CASES = Path(__file__).parent


def module_name(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def test_table_equals_the_modules() -> None:
    modules = {module.name for module in pkgutil.iter_modules(providers.__path__)} - SHARED
    assert {module_name(name) for name in PROVIDERS} == modules


@pytest.mark.parametrize("name", PROVIDERS)
def test_line_names_the_functions_of_its_module(name: str) -> None:
    module, line = importlib.import_module(f"providers.{module_name(name)}"), PROVIDERS[name]
    forms = [getattr(line, form) for form in FORMS]
    assert forms == [getattr(module, form, None) for form in FORMS]
    assert [bool(form) for form in forms] in (
        [True, True, False, False, False],
        [False, False, True, False, False],
        [False, False, False, True, False],
        [False] * 4 + [True],
    )


@pytest.mark.parametrize("name", PROVIDERS)
def test_module_is_small_and_says_how_to_get_the_credentials(name: str) -> None:
    path = FOLDER / f"{module_name(name)}.py"
    assert len(path.read_text().splitlines()) <= 200
    said = inspect.getdoc(importlib.import_module(f"providers.{module_name(name)}")) or ""
    assert "Credentials: " in said
    assert "https://" in said


@pytest.mark.parametrize("name", PROVIDERS)
def test_type_has_recorded_cases(name: str) -> None:
    assert len(list((CASES / name).glob("*/request.json"))) >= 2


@pytest.mark.parametrize("name", PROVIDER_TYPES)
def test_crd_s_types_are_carried_out_or_refused_by_name(name: str) -> None:
    provider = {"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "spec": {"type": name}}
    assert refused_fields(provider) == (() if name in PROVIDERS else ("spec.type",))


def test_every_type_is_in_the_crd_and_documented() -> None:
    assert set(PROVIDERS) <= set(PROVIDER_TYPES)
    documented = (FOLDER.parent / "docs" / "providers.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.-]+)` \| (\w+)", documented, re.MULTILINE))
    assert {name for name, sent in rows.items() if sent == "yes"} == set(PROVIDERS)
    assert {name for name, sent in rows.items() if sent == "no"} == set(PROVIDER_TYPES) - set(PROVIDERS)
