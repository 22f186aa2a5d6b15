"""What a build refuses is told without what may be secret in it."""

import pytest

from service.kustomize.build import build
from service.kustomize.errors import BuildError
from service.kustomize.tree import MapTree


@pytest.mark.parametrize(
    ("kustomization", "named"),
    [
        ("secretGenerator:\n- name: a\n  literals: [user=ada, hunter2]\n", "literals[1]"),
        ("resources: ['https://git:hunter2@host/a']\n", "https://***@host/a"),
        ("resources: ['https://host/a?token=hunter2']\n", "https://host/a"),
        ("patches:\n- path: https://git:hunter2@host/a.yaml\n", "https://***@host/a.yaml"),
    ],
)
def test_a_refusal_repeats_no_secret(kustomization: str, named: str) -> None:
    with pytest.raises(BuildError) as told:
        build(MapTree({"app/kustomization.yaml": kustomization.encode()}), "app")
    assert named in str(told.value)
    assert "hunter2" not in str(told.value)
