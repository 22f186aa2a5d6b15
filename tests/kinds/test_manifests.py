"""Manifests as people write them, applied to an API server with our definitions: none is refused, and what is not carried out is known."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from service.cluster.client import APPLY_PATCH, Cluster
from service.compose.install import install_kinds
from service.kinds.codec import decode, refused_fields
from service.kinds.table import BY_NAME

MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
NOT_CARRIED_OUT = {"0-12-Kustomization-apps": ("spec.decryption",)}
"""These say Stalled, with the fields' names."""


@pytest.fixture
async def api(kubeconfig: Path, namespace_name: str) -> AsyncIterator[Cluster]:
    made = await Cluster.from_kubeconfig(kubeconfig)
    await install_kinds(made, namespace_name)
    yield made
    await made.close()


async def test_no_manifest_is_refused_by_the_schema(api: Cluster, namespace_name: str) -> None:
    stalled = {}
    for file in MANIFESTS:
        body = yaml.safe_load(file.read_text())
        kind = BY_NAME[(body["apiVersion"].partition("/")[0], body["kind"])]
        body["metadata"]["namespace"] = namespace_name
        path = f"/apis/{body['apiVersion']}/namespaces/{namespace_name}/{kind.plural}/{body['metadata']['name']}"
        query = {"fieldManager": "tester", "fieldValidation": "Strict", "force": "true"}
        stored = (await api.request("PATCH", path, query=query, body=body, content_type=APPLY_PATCH)).body
        decode(kind.type, stored)
        if names := refused_fields(stored):
            stalled[file.stem] = names
    assert stalled == NOT_CARRIED_OUT
