"""Name references that need more than a table."""

from textwrap import dedent

import pytest

from service.kustomize.build import BuildError, build
from service.kustomize.tree import MapTree

BINDING = """
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata: {name: reads}
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
    subjects: [{kind: ServiceAccount, name: app, namespace: %s}]
"""


def _tree(namespace: str) -> MapTree:
    return MapTree({"kustomization.yaml": b"resources: [binding.yaml]\n", "binding.yaml": dedent(BINDING % namespace).encode()})


def test_blank_namespace_of_a_subject_is_an_error() -> None:
    with pytest.raises(BuildError, match="namespace is blank for resource RoleBinding"):
        build(_tree(""), "")


def test_named_namespace_of_a_subject_stays() -> None:
    assert build(_tree("there"), "").objects[0]["subjects"][0]["namespace"] == "there"
