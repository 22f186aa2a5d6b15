"""What a consumer misses of a generated artifact is made anew by its generator, and by nobody else."""

from typing import Any

import pytest

from service.compose.generators import Generators
from service.kinds.meta import EXTENSIONS_GROUP, GENERATOR, SOURCE_GROUP, ObjectKey
from service.sources.published import Published
from service.sources.tarball import MISSED

GENERATOR_KEY = ObjectKey(group=EXTENSIONS_GROUP, kind="ArtifactGenerator", namespace="apps", name="gen")


def artifact(uid: str, kind: str = "ArtifactGenerator") -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "apps", "labels": {GENERATOR: uid}}
    return {"metadata": metadata, "spec": {"sourceRef": {"kind": kind, "name": "gen", "namespace": "apps"}}}


@pytest.mark.parametrize(
    ("found", "kind", "runs", "ours"),
    [
        (artifact("u-1"), "ExternalArtifact", True, True),
        (artifact("u-1"), "ExternalArtifact", False, False),
        (artifact("u-2"), "ExternalArtifact", True, False),
        (artifact("u-1", "Other"), "ExternalArtifact", True, False),
        (artifact("u-1"), "GitRepository", True, False),
    ],
    ids=("ours", "generated elsewhere", "of a generator that is gone", "of another maker", "another kind"),
)
def test_who_makes_it_again(found: dict[str, Any], kind: str, runs: bool, ours: bool) -> None:
    added: list[tuple[ObjectKey, str]] = []
    generators = Generators(
        objects={("apps", "gen"): {"metadata": {"uid": "u-1"}}},
        artifacts={("apps", "web"): found},
        published=Published(lambda *_: None),
        add=lambda key, *, trigger, priority: added.append((key, trigger.reason)),
        runs=runs,
    )
    assert generators.missed(ObjectKey(group=SOURCE_GROUP, kind=kind, namespace="apps", name="web")) is ours
    assert added == ([(GENERATOR_KEY, MISSED)] if ours else [])
