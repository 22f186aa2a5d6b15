"""Nulls by how they are written."""

from typing import Any

import pytest
import yaml

from service.kustomize.build import build
from service.kustomize.tree import MapTree

HEAD = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a, labels: {l: v}}\n"


def _built(resource: str, patch: str | None = None, target: dict[str, str] | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {"resources": ["all.yaml"]}
    if patch is not None:
        fields["patches"] = [{"patch": patch, **({"target": target} if target else {})}]
    files = {"kustomization.yaml": yaml.safe_dump(fields).encode(), "all.yaml": (HEAD + resource).encode()}
    return build(MapTree(files), "").objects[0]


@pytest.mark.parametrize(
    ("resource", "alone", "merged"),
    [
        ("spec: {}\na:\n", None, "gone"),
        ("spec: {}\na: ~\n", None, None),
        ("spec: {}\na: null\n", None, None),
        ("spec: {}\na:\n  b:\n", {"b": None}, {}),
        ("spec: {}\na: {b: }\n", {"b": ""}, {}),
        ("spec: {}\na: [{b: }]\n", [{"b": ""}], [{"b": ""}]),
        ("spec: {}\na:\n- b:\n", [{"b": None}], [{"b": None}]),
    ],
)
def test_empty_one_goes_in_a_merge_and_is_a_text_in_flow_style(resource: str, alone: object, merged: object) -> None:
    assert _built(resource)["a"] == alone
    assert _built(resource, f"{HEAD}spec: {{x: 1}}\n").get("a", "gone") == merged


@pytest.mark.parametrize(("written", "label"), [("", ""), ("~", "~"), ("null", "null")])
def test_null_label_of_a_patch_with_a_target_is_the_text_that_is_written(written: str, label: str) -> None:
    made = _built("spec: {}\n", HEAD.replace("v}", written + "}"), {"kind": "Thing"})
    assert made["metadata"]["labels"]["l"] == label
