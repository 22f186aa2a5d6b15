"""The committed CustomResourceDefinitions are those of the typed kinds, and have what Flux's have."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.kinds.crd import definition, file_name, render
from service.kinds.table import KINDS, Kind

FOLDER = Path(__file__).parents[2] / "charts" / "sluice" / "crds"


def test_chart_holds_just_what_the_generator_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == {file_name(kind): render(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_all_versions_have_one_schema_and_the_newest_is_stored(kind: Kind) -> None:
    versions = definition(kind)["spec"]["versions"]
    assert all(version["schema"] == versions[0]["schema"] for version in versions)
    assert [(version["name"], version["served"], version["storage"]) for version in versions] == [
        (name, True, name == kind.versions[0]) for name in kind.versions
    ]
    assert all(version["subresources"] == {"status": {}} for version in versions)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_yaml_reads_back_as_the_definition(kind: Kind) -> None:
    text = render(kind)
    assert yaml.safe_load(text) == definition(kind)
    assert "&id" not in text


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("GitRepository", ["interval", "url"]),
        ("Kustomization", ["interval", "prune", "sourceRef"]),
        ("Receiver", ["resources", "type"]),
        ("Alert", ["eventSources", "providerRef"]),
        ("Provider", ["type"]),
    ],
)
def test_required_is_only_what_all_versions_of_flux_require(name: str, required: list[str]) -> None:
    assert schema(name)["spec"]["required"] == required


@pytest.mark.parametrize("name", ["GitRepository", "Kustomization", "Receiver"])
def test_fresh_object_is_not_taken_for_a_ready_one(name: str) -> None:
    assert schema(name)["status"]["default"] == {"observedGeneration": -1}


def test_names_are_those_of_flux() -> None:
    git, ks = (definition(kind) for kind in KINDS if kind.kind in ("GitRepository", "Kustomization"))
    assert git["metadata"] == {
        "name": "gitrepositories.source.toolkit.fluxcd.io",
        "annotations": {"kustomize.toolkit.fluxcd.io/substitute": "disabled"},
    }
    assert git["spec"]["names"] == {
        "kind": "GitRepository", "listKind": "GitRepositoryList", "plural": "gitrepositories", "singular": "gitrepository",
        "shortNames": ["gitrepo"], "categories": ["all", "fluxcd", "fluxcd-sources"],
    }  # fmt: skip
    assert ks["spec"]["names"]["shortNames"] == ["ks"]
    assert [column["name"] for column in git["spec"]["versions"][0]["additionalPrinterColumns"]] == ["URL", "Age", "Ready", "Status"]


def test_every_field_is_described() -> None:
    def undescribed(schema: dict[str, Any], at: str) -> list[str]:
        found = [
            f"{at}.{name}" for name, inner in schema.get("properties", {}).items() if not inner.get("description") and name != "metadata"
        ]
        for name, inner in schema.get("properties", {}).items():
            found += undescribed(inner.get("items", inner), f"{at}.{name}")
        return found

    for kind in KINDS:
        assert undescribed(definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind.kind) == []


def schema(name: str) -> dict[str, Any]:
    kind = next(kind for kind in KINDS if kind.kind == name)
    properties: dict[str, Any] = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return properties
