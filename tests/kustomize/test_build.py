"""The corpus of whole builds, and what a build promises beyond its output."""

import json
import pickle
from pathlib import Path

import pytest

from service.kustomize.build import BuildError, BuildOptions, build
from service.kustomize.cache import ParseCache
from service.kustomize.tree import FolderTree, MapTree
from service.kustomize.yamlwrite import dump

CASES = Path(__file__).parent / "cases"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: c, image: "nginx:1", envFrom: [{configMapRef: {name: conf}}]}]}}}
"""


def command(case: Path) -> tuple[str, BuildOptions]:
    """What a case's cmd.json asks for, with the command's defaults."""
    found = json.loads((case / "cmd.json").read_text())
    path = "" if found["path"] == "." else found["path"]
    lifted = "load_restrictor" in found["options"]
    return path, BuildOptions(sort="legacy", schema="replace", load_restrictions="tree" if lifted else "root_only")


def folders(kind: str) -> list[Path]:
    return sorted(path.parent for path in CASES.glob(f"*/{kind}"))


@pytest.mark.parametrize("case", folders("expected.yaml"), ids=lambda case: case.name)
@pytest.mark.parametrize(("file", "sort"), [("expected.yaml", "legacy"), ("expected_fifo.yaml", "none")])
def test_build_gives_the_same_bytes_as_kustomize(case: Path, file: str, sort: str) -> None:
    path, options = command(case)
    options = BuildOptions(sort=sort, schema="replace", load_restrictions=options.load_restrictions)  # type: ignore[arg-type]
    assert dump(build(FolderTree(case / "input"), path, options=options).objects) == (case / file).read_text()


@pytest.mark.parametrize("case", folders("expected_error"), ids=lambda case: case.name)
def test_build_fails_where_kustomize_fails(case: Path) -> None:
    path, options = command(case)
    with pytest.raises(BuildError) as caught:
        build(FolderTree(case / "input"), path, options=options)
    assert caught.value.file is not None


@pytest.mark.parametrize("case", folders("expected.yaml"), ids=lambda case: case.name)
def test_build_from_a_full_cache_is_the_same(case: Path) -> None:
    path, options = command(case)
    cache = ParseCache(2**24)
    tree = FolderTree(case / "input")
    first = build(tree, path, options=options, cache=cache)
    again = build(tree, path, options=options, cache=cache)
    assert dump(again.objects) == dump(first.objects) == (case / "expected.yaml").read_text()
    assert again.reads == first.reads
    assert dump(pickle.loads(pickle.dumps(again)).objects) == dump(first.objects)


def test_corpus_is_there() -> None:
    assert len(folders("expected.yaml")) == 26
    assert len(folders("expected_error")) == 6


def test_error_names_file_and_line_when_a_field_is_unknown() -> None:
    tree = MapTree({"a/kustomization.yaml": "resources:\n- x.yaml\nnamePrefx: a-\n", "a/x.yaml": CONFIG_MAP % "x"})
    with pytest.raises(BuildError) as caught:
        build(tree, "a")
    assert (caught.value.file, caught.value.line) == ("a/kustomization.yaml", 3)
    assert "namePrefx" in caught.value.message


def test_error_names_file_and_line_when_yaml_is_malformed() -> None:
    tree = MapTree({"kustomization.yaml": "resources: [x.yaml]\n", "x.yaml": CONFIG_MAP % "x" + "---\nkind: A\nb: [\n"})
    with pytest.raises(BuildError, match="MalformedYAMLError") as caught:
        build(tree, "")
    assert caught.value.file == "x.yaml"
    assert caught.value.line is not None
    assert caught.value.line >= 6


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("helmCharts: [{name: x}]", "helmCharts"),
        ("helmChartInflationGenerator: [{chartName: x}]", "helmChartInflationGenerator"),
        ("resources: ['https://github.com/a/b?ref=1']", "github.com"),
        ("resources: ['git@github.com:a/b']", "github.com"),
        ("components: ['github.com/a/b//c']", "github.com"),
        ('transformers: ["{apiVersion: example.com/v1, kind: Exec, metadata: {name: x}}"]', "Exec"),
        ('generators: ["{apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: x}}"]', "HelmChartInflationGenerator"),
    ],
)
def test_what_is_not_carried_out_is_refused_by_name(field: str, named: str) -> None:
    with pytest.raises(BuildError, match=named):
        build(MapTree({"kustomization.yaml": field + "\n"}), "")


@pytest.mark.parametrize("path", ["../../x.yaml", "/etc/passwd", "../.."])
def test_nothing_leaves_the_tree(path: str) -> None:
    tree = MapTree({"a/kustomization.yaml": f"resources: ['{path}']\n"})
    with pytest.raises(BuildError, match=r"out of the tree|absolute"):
        build(tree, "a")


def test_links_that_leave_the_root_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(CONFIG_MAP % "secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "kustomization.yaml").write_text("resources: [x.yaml]\n")
    (root / "x.yaml").symlink_to("../secret.yaml")
    with pytest.raises(BuildError, match="no such file"):
        build(FolderTree(root), "")


def test_links_inside_the_root_are_followed_for_the_restriction(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b.yaml").write_text(CONFIG_MAP % "x")
    (tmp_path / "a" / "kustomization.yaml").write_text("resources: [x.yaml]\n")
    (tmp_path / "a" / "x.yaml").symlink_to("../b.yaml")
    assert len(build(FolderTree(tmp_path), "a").objects) == 1
    with pytest.raises(BuildError, match="security"):
        build(FolderTree(tmp_path), "a", options=BuildOptions(load_restrictions="root_only"))


def test_flux_generates_a_kustomization_when_there_is_none() -> None:
    tree = MapTree(
        {
            "apps/b.yaml": CONFIG_MAP % "b",
            "apps/a.yml": CONFIG_MAP % "a",
            "apps/readme.md": "no YAML",
            "apps/deep/c.yaml": CONFIG_MAP % "c",
            "apps/own/kustomization.yaml": "namePrefix: own-\nresources: [d.yaml]\n",
            "apps/own/d.yaml": CONFIG_MAP % "d",
            "apps/own/not-listed.yaml": "no object",
        }
    )
    built = build(tree, "apps", options=BuildOptions(generate=True, target_namespace="prod"))
    assert [row["metadata"] for row in built.objects] == [{"name": name, "namespace": "prod"} for name in ("a", "b", "c", "own-d")]
    assert {"list apps", "kind apps/kustomization.yaml"} <= built.reads.keys()
    with pytest.raises(BuildError, match="unable to find one of"):
        build(tree, "apps")


def test_flux_generation_gives_nothing_for_an_empty_folder() -> None:
    assert build(MapTree({"apps/readme.md": ""}), "apps", options=BuildOptions(generate=True)).objects == ()


def test_flux_generation_fails_when_one_file_holds_no_object() -> None:
    with pytest.raises(BuildError, match="no Kubernetes object"):
        build(MapTree({"a/values.yaml": "x: 1\n"}), "a", options=BuildOptions(generate=True))


def test_spec_fields_replace_and_append() -> None:
    tree = MapTree(
        {
            "kustomization.yaml": "namespace: own\nnamePrefix: own-\nresources: [d.yaml]\nimages: [{name: nginx, newTag: '2'}]\n",
            "d.yaml": DEPLOYMENT,
            "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {from: component}\n",
        }
    )
    options = BuildOptions(
        target_namespace="theirs",
        name_prefix="p-",
        name_suffix="-s",
        images=({"name": "nginx", "newName": "mirror/nginx"},),
        patches=({"patch": "- {op: add, path: /spec/replicas, value: 4}", "target": {"kind": "Deployment"}},),
        components=("c", "missing"),
        ignore_missing_components=True,
        common_labels={"team": "a"},
        common_annotations={"from": "spec"},
    )
    (made,) = build(tree, "", options=options).objects
    assert made["metadata"] == {"name": "p-web-s", "namespace": "theirs", "labels": {"team": "a"}, "annotations": {"from": "spec"}}
    assert made["spec"]["replicas"] == 4
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror/nginx:2"
    with pytest.raises(BuildError, match="missing"):
        build(tree, "", options=BuildOptions(components=("missing",)))


def test_hash_follows_the_content_and_references_follow_the_name() -> None:
    def made(value: str) -> list[str]:
        fields = f"configMapGenerator: [{{name: conf, literals: [a={value}]}}]\nresources: [d.yaml]\n"
        tree = MapTree({"kustomization.yaml": fields, "d.yaml": DEPLOYMENT})
        deployment, config = build(tree, "").objects
        return [config["metadata"]["name"], deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]]

    assert made("b") == ["conf-4h2mbtbbt6"] * 2
    assert made("c")[0] != "conf-4h2mbtbbt6"
    assert made("c")[0] == made("c")[1]


def test_bases_nested_without_end_are_a_build_error() -> None:
    files = {f"{number}/kustomization.yaml": f"resources: [../{number + 1}]\n" for number in range(150)}
    with pytest.raises(BuildError, match="deeper"):
        build(MapTree(files), "0")


@pytest.mark.parametrize("path", ["a", "./a", "/a", "a/", "b/../a"])
def test_path_of_the_folder_is_normalised(path: str) -> None:
    tree = MapTree({"a/kustomization.yaml": "resources: [x.yaml]\n", "a/x.yaml": CONFIG_MAP % "x", "b/y": ""})
    assert len(build(tree, path).objects) == 1


def test_two_kustomization_files_are_an_error() -> None:
    with pytest.raises(BuildError, match="multiple kustomization files"):
        build(MapTree({"kustomization.yaml": "resources: []", "Kustomization": "resources: []"}), "")
