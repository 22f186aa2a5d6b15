"""Patches as pure functions."""

import contextlib
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.apiserver.patches import json_patch, merge_patch, strategic_patch
from service.apiserver.refusal import Refused
from service.apiserver.resources import load_builtin

VALUE = st.recursive(
    st.integers(0, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)
OBJECT = st.dictionaries(st.text(max_size=2), VALUE, max_size=3)
POD = load_builtin().definitions.node("api.core.v1.PodSpec")


@given(OBJECT, OBJECT)
def test_merge_patch_twice_is_once(value, patch):
    before = copy.deepcopy(value)
    once = merge_patch(value, patch)
    assert merge_patch(once, patch) == once
    assert value == before


@given(
    OBJECT,
    VALUE
    | st.lists(
        st.dictionaries(st.sampled_from(["op", "path", "from", "value"]), st.sampled_from(["add", "remove", "/a", "/0/b", "test", 1]))
    ),
)
def test_json_patch_answers_or_refuses(value, patch):
    before = copy.deepcopy(value)
    with contextlib.suppress(Refused):
        json_patch(value, patch)
    assert value == before


def test_json_patch_operations():
    value = {"a": [1, 2], "b/c": {"d": 1}}
    operations = [
        {"op": "test", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/a/1", "value": 9},
        {"op": "add", "path": "/a/-", "value": 3},
        {"op": "move", "from": "/b~1c/d", "path": "/e"},
        {"op": "copy", "from": "/a", "path": "/f"},
        {"op": "replace", "path": "/e", "value": 5},
        {"op": "remove", "path": "/a"},
    ]
    assert json_patch(value, operations) == {"b/c": {}, "e": 5, "f": [1, 9, 2, 3]}


def test_strategic_patch_merges_and_deletes_by_key():
    live = {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    patch = {"containers": [{"name": "b", "$patch": "delete"}, {"name": "a", "image": "2"}, {"name": "c"}]}
    assert strategic_patch(POD, live, patch) == {"containers": [{"name": "a", "image": "2"}, {"name": "c"}]}


def test_strategic_patch_directives():
    live = {"nodeSelector": {"a": "1", "b": "2"}, "containers": [{"name": "a"}, {"name": "b"}], "hostname": "x"}
    patch = {
        "nodeSelector": {"$patch": "replace", "c": "3"},
        "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "hostname": None,
    }
    wanted = {"nodeSelector": {"c": "3"}, "containers": [{"name": "b"}, {"name": "a"}]}
    patch["containers"] = [{"name": "a"}]
    assert strategic_patch(POD, live, patch) == wanted


def test_strategic_patch_without_its_key_is_refused():
    with pytest.raises(Refused, match="merge key"):
        strategic_patch(POD, {"containers": []}, {"containers": [{"image": "1"}]})
