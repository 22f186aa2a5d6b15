"""Rare inputs that a comparison of mutated cases with kustomize 5.8.0 brought up; what is expected is what the binary prints."""

import pickle

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


def test_a_failed_build_warns_too() -> None:
    with pytest.raises(BuildError) as caught:
        built(kustomization_yaml="bases: []\nvars: []\nresources: [nope.yaml]\n")
    assert [warning.split("'")[1] for warning in pickle.loads(pickle.dumps(caught.value)).warnings] == ["bases", "vars"]


def plugin(kind: str, fields: str) -> dict[str, str]:
    """The files of a kustomization with one builtin transformer."""
    config = f"apiVersion: builtin\nkind: {kind}\nmetadata: {{name: p}}\n{fields}\n"
    return {"kustomization_yaml": "resources: [in.yaml]\ntransformers: [t.yaml]\n", "t_yaml": config, "in_yaml": FOO}


@pytest.mark.parametrize("path", ["metadata/", "a//b", "[]"])
def test_an_empty_part_of_a_path_is_an_error(path: str) -> None:
    with pytest.raises(BuildError, match="empty field name"):
        built(**plugin("LabelTransformer", f"labels: {{a: b}}\nfieldSpecs: [{{path: '{path}', create: true}}]"))


@pytest.mark.parametrize(("written", "text"), [("5", "5"), ("1.50", "1.5"), ("0x10", "16"), ("true", "true"), ("1.5e-7", "1.5e-07")])
def test_a_number_in_the_configuration_of_a_plugin_is_text(written: str, text: str) -> None:
    made = built(**plugin("PrefixTransformer", f"prefix: {written}\nfieldSpecs: [{{path: metadata/name}}]"))
    assert made.objects[0]["metadata"]["name"] == f"{text}a"


def test_a_number_among_the_embedded_fields_of_a_plugin_is_an_error() -> None:
    with pytest.raises(BuildError, match="must be a string"):
        built(**plugin("PatchTransformer", "target: {name: 5}\npatch: '[]'"))


def test_prefix_and_suffix_in_one_want_field_specs() -> None:
    with pytest.raises(BuildError, match="fieldSpecs"):
        built(**plugin("PrefixSuffixTransformer", "prefix: a-"))


def test_an_empty_map_as_patch_is_an_error_where_it_meets_an_object() -> None:
    assert len(built(kustomization_yaml="resources: [in.yaml]\npatches: [{target: {kind: Bar}, patch: '{}'}]\n", in_yaml=FOO).objects) == 1
    assert len(built(kustomization_yaml="resources: [in.yaml]\npatches: [{target: {kind: Foo}, patch: '[]'}]\n", in_yaml=FOO).objects) == 1
    with pytest.raises(BuildError, match="neither an object nor"):
        built(kustomization_yaml="resources: [in.yaml]\npatches: [{target: {kind: Foo}, patch: '{}'}]\n", in_yaml=FOO)


def test_a_replacement_behind_a_scalar_among_many_is_lost_as_upstream() -> None:
    rule = "{source: {kind: Foo}, targets: [{select: {kind: Foo}, fieldPaths: ['x.*.t.a']}]}"
    files = {"kustomization_yaml": f"resources: [in.yaml]\nreplacements: [{rule}]\n"}
    assert built(in_yaml=FOO + "x: [{t: 'a: 1'}]\n", **files).objects[0]["x"] == [{"t": "a: 1"}]
    with pytest.raises(BuildError, match="unable to find field"):
        built(in_yaml=FOO + "x: [{t: 'b: 1'}]\n", **files)
