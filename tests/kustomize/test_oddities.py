"""Rare inputs that a comparison of mutated cases with kustomize 5.8.0 brought up; what is expected is what the binary prints."""

import pytest
import yaml

from service.kustomize.build import Build, BuildError, BuildOptions, build
from service.kustomize.tree import MapTree
from service.kustomize.yamlwrite import dump

FOO = "apiVersion: v1\nkind: Foo\nmetadata: {name: a}\n"


def built(**files: str) -> Build:
    tree = MapTree({name.replace("_", "."): text.encode() for name, text in files.items()})
    return build(tree, "", options=BuildOptions(sort="legacy", schema="replace", load_restrictions="root_only"))


def test_origin_annotations_leave_labels_that_are_held_together() -> None:
    labels = "labels: [{includeSelectors: true, pairs: {x: a}}, {includeTemplates: true, pairs: {x: b}}]\n"
    deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {}}}\n"
    made = built(
        kustomization_yaml=f"resources: [in.yaml]\nbuildMetadata: [originAnnotations]\n{labels}",
        in_yaml=deployment,
    )
    assert made.objects[0]["spec"]["selector"] == {"matchLabels": {"x": "b"}}


def test_a_key_twice_in_configurations_is_an_error_with_its_line() -> None:
    with pytest.raises(BuildError, match=r'c\.yaml:3: mapping key "kind" already defined'):
        built(
            kustomization_yaml="resources: [in.yaml]\nconfigurations: [c.yaml]\n",
            c_yaml="namePrefix:\n- kind: Foo\n  kind: Bar\n  path: x\n",
            in_yaml=FOO,
        )


@pytest.mark.parametrize("table", ["commonLabels: [{kind: %s}]", "nameReference: [{kind: Foo, fieldSpecs: [{kind: %s}]}]"])
def test_a_field_spec_without_a_path_is_an_error_where_it_applies(table: str) -> None:
    files = {"kustomization_yaml": "resources: [in.yaml]\nconfigurations: [c.yaml]\ncommonLabels: {q: r}\nnamePrefix: p-\n", "in_yaml": FOO}
    assert len(built(c_yaml=table % "Bar", **files).objects) == 1
    with pytest.raises(BuildError, match="empty field name"):
        built(c_yaml=table % "Foo", **files)


def test_a_targeted_patch_gives_an_object_without_apiversion_none() -> None:
    made = built(
        kustomization_yaml="resources: [in.yaml]\npatches: [{target: {kind: Foo}, path: p.yaml}]\n",
        in_yaml="kind: Foo\nmetadata: {name: a}\n",
        p_yaml=FOO + "x: y\n",
    )
    assert dump(made.objects) == 'apiVersion: null\nkind: Foo\nmetadata:\n  name: a\nx: "y"\n'


def test_core_namespaces_are_sorted_backwards_by_version() -> None:
    made = built(
        kustomization_yaml="resources: [in.yaml]\n",
        in_yaml=yaml.safe_dump_all([{**version, "kind": "Namespace", "metadata": {"name": name}} for name, version in NAMESPACES.items()]),
    )
    assert [found["metadata"]["name"] for found in made.objects] == ["none", "core", "other"]


NAMESPACES: dict[str, dict[str, str]] = {"other": {"apiVersion": "e.com/v1"}, "core": {"apiVersion": "v1"}, "none": {}}


def test_deprecated_fields_are_told_of_in_kustomizes_words() -> None:
    assert built(kustomization_yaml="bases: []\nvars: []\ncommonLabels: {a: b}\nresources: [in.yaml]\n", in_yaml=FOO).warnings == (
        "# Warning: 'bases' is deprecated. Please use 'resources' instead. "
        "Run 'kustomize edit fix' to update your Kustomization automatically.",
        "# Warning: 'commonLabels' is deprecated. Please use 'labels' instead. "
        "Run 'kustomize edit fix' to update your Kustomization automatically.",
        "# Warning: 'vars' is deprecated. Please use 'replacements' instead. [EXPERIMENTAL] "
        "Run 'kustomize edit fix' to update your Kustomization automatically.",
    )
