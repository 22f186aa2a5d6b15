"""Field specs of configurations over the defaults."""

import pytest

from service.kustomize.errors import BuildError
from service.kustomize.fieldspecs import FieldSpec, Gvk
from service.kustomize.tables import DEFAULT, EMPTY, read_tables


def test_spec_for_one_kind_takes_the_place_of_the_default_for_all() -> None:
    added = DEFAULT.merged(read_tables({"namePrefix": [{"path": "metadata/name", "kind": "Widget"}]}))
    assert EMPTY.merged(added).name_prefix == (FieldSpec("metadata/name", False, Gvk(kind="Widget")),)
    assert DEFAULT.merged(added).name_prefix == (*EMPTY.merged(added).name_prefix, FieldSpec("metadata/name"))


def test_defaults_are_merged_into_nothing_unchanged() -> None:
    assert EMPTY.merged(DEFAULT) is DEFAULT
    assert [target.kind for target, _ in DEFAULT.name_reference][-2:] == ["ReplicaSet", "ReplicationController"]


def test_specs_conflict_when_create_differs() -> None:
    with pytest.raises(BuildError, match="conflicting fieldspecs"):
        DEFAULT.merged(read_tables({"commonAnnotations": [{"path": "metadata/annotations"}]}))
