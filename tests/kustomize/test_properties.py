"""Random input: only BuildError comes out of bad files, and good ones build the same every time, as kustomize builds them."""

import copy
import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from service.kustomize.build import Build, BuildError, BuildOptions, build
from service.kustomize.cache import ParseCache
from service.kustomize.kustomization import FIELDS
from service.kustomize.tree import FolderTree, MapTree
from service.kustomize.yamlwrite import dump
from tests.peers.binaries import binary

sys.path.insert(0, str(Path(__file__).parent))
from overlays import trees  # tests are no package

OPTIONS = BuildOptions(sort="legacy", schema="replace", load_restrictions="root_only")
OBJECT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n"
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

yaml_text = st.text(st.sampled_from([*"abk:-[]{}&*!|>'\"%#,? \n\t0x.~<=é\0\U0001f600"]), max_size=60)
scalar = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["x.yaml", ".", "", "a", "(", "a.b", "../b"])
)
key = st.sampled_from(["name", "path", "patch", "target", "kind", "pairs", "source", "targets", "select"])
value = st.recursive(scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3), max_leaves=6)


def attempt(tree: MapTree) -> Build | None:
    """A build, None where it is refused."""
    try:
        return build(tree, "", options=OPTIONS)
    except BuildError:
        return None


@quick
@given(yaml_text)
def test_random_text_as_kustomization_is_refused_properly(text: str) -> None:
    attempt(MapTree({"kustomization.yaml": text, "x.yaml": OBJECT}))


@quick
@given(yaml_text)
def test_random_text_as_resource_and_patch_is_refused_properly(text: str) -> None:
    attempt(MapTree({"kustomization.yaml": "resources: [x.yaml]\n", "x.yaml": text}))
    attempt(MapTree({"kustomization.yaml": "resources: [x.yaml]\npatches: [{path: p, target: {}}]\n", "x.yaml": OBJECT, "p": text}))


@quick
@given(st.binary(max_size=60))
def test_random_bytes_are_refused_properly(data: bytes) -> None:
    attempt(MapTree({"kustomization.yaml": data}))
    attempt(
        MapTree(
            {
                "kustomization.yaml": "resources: [x.yaml]\nconfigMapGenerator: [{name: a, envs: [e], files: [e]}]\n",
                "x.yaml": data,
                "e": data,
            }
        )
    )


@quick
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), value, min_size=1, max_size=3))
def test_random_values_of_known_fields_are_refused_properly(fields: dict[str, object]) -> None:
    attempt(MapTree({"kustomization.yaml": yaml.safe_dump({"resources": ["x.yaml"], **fields}), "x.yaml": OBJECT}))


def objects_of(value: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Objects of known kinds with random insides."""
    fields = st.dictionaries(
        st.sampled_from(["template", "containers", "selector", "rules", "volumes", "ports", "metadata", "name"]), value, max_size=3
    )
    return st.fixed_dictionaries(
        {
            "apiVersion": st.sampled_from(["v1", "apps/v1", "rbac.authorization.k8s.io/v1"]),
            "kind": st.sampled_from(["Deployment", "Pod", "RoleBinding", "Service", "ConfigMapList", "Ingress"]),
            "metadata": st.fixed_dictionaries({"name": st.just("x")}, optional={"labels": value, "annotations": value}),
            "spec": fields | value,
        },
        optional={"subjects": value, "roleRef": value, "items": value, "data": value},
    )


@quick
@given(objects_of(value), objects_of(value))
def test_random_insides_are_transformed_or_refused_properly(body: dict[str, object], patch: dict[str, object]) -> None:
    fields = {
        "resources": ["x.yaml"],
        "namespace": "n",
        "namePrefix": "p-",
        "labels": [{"pairs": {"a": "b"}, "includeSelectors": True}],
        "commonAnnotations": {"c": "d"},
        "images": [{"name": ".*", "newTag": "1"}],
        "patches": [{"patch": yaml.safe_dump(patch), "target": {"kind": ".*"}}],
        "configMapGenerator": [{"name": "x", "literals": ["a=b"]}],
    }
    attempt(MapTree({"kustomization.yaml": yaml.safe_dump(fields), "x.yaml": yaml.safe_dump(body)}))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(trees())
def test_a_build_is_deterministic_and_leaves_the_cache_alone(files: dict[str, str]) -> None:
    cache = ParseCache(2**20)

    def once() -> tuple[str, object]:
        try:
            built = build(MapTree(files), "overlay", options=OPTIONS, cache=cache)
        except BuildError as error:
            return str(error), None
        text = dump(built.objects)
        for row in copy.copy(built.objects):
            row.clear()  # whoever spoils a result spoils only that one
        return text, built.reads

    assert once() == once() == once()


def compared(command: list[str], budget_seconds: float, *, strict: bool = True) -> tuple[int, int]:
    """Build random overlays by a program and by us until the time is over; returns how many, and how many differ (none where `strict`)."""
    count, different, until = 0, 0, monotonic() + budget_seconds

    def compare(files: dict[str, str]) -> None:
        nonlocal count, different
        if monotonic() > until:
            return
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                (Path(folder) / path).parent.mkdir(exist_ok=True)
                (Path(folder) / path).write_text(text)
            made = subprocess.run([*command, f"{folder}/overlay"], capture_output=True, check=False, text=True)
            try:
                ours = dump(build(FolderTree(Path(folder)), "overlay", options=OPTIONS).objects)
            except BuildError as error:
                ours = f"error: {error}"
        same = (made.returncode != 0) == ours.startswith("error: ") and (made.returncode != 0 or ours == made.stdout)
        assert same or not strict, f"{files}\n{made.stderr}\n{made.stdout}\n{ours}"
        count, different = count + 1, different + (not same)

    # what fails is shown as it is: the time would be over before it is made smaller
    health, phases = list(HealthCheck), (Phase.generate,)
    limited = settings(max_examples=20, deadline=None, suppress_health_check=health, database=None, phases=phases)
    for number in itertools.count():
        if monotonic() > until:
            break
        seed(number)(limited(given(trees())(compare)))()
    return count, different


@pytest.mark.real
def test_random_overlays_build_as_by_the_binary(peers: Any, pytestconfig: pytest.Config) -> None:
    peers.need("kustomize")
    count, _ = compared([str(binary("kustomize")), "build"], 600 if pytestconfig.getoption("--soak") else 30)
    print(f"{count} random overlays, all as the binary builds them")
    assert count > 20


@pytest.mark.real
def test_random_overlays_build_mostly_as_by_kubectl(peers: Any, pytestconfig: pytest.Config) -> None:
    """Its kustomize is older than ours where the machine's kubectl is, so some differ: docs/kustomize.md says in what."""
    peers.need("kustomize")
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    count, different = compared(["kubectl", "kustomize"], 300 if pytestconfig.getoption("--soak") else 10, strict=False)
    print(f"{count} random overlays, {different} otherwise than kubectl builds them")
    assert count > 5
    assert different <= count * 0.4
