"""FieldsV1 there and back, and the algebra of sets."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.apiserver.fieldset import FieldSet, decode, readable

ELEMENT = st.one_of(
    st.text(min_size=1, max_size=3).map(lambda name: f"f:{name}"),
    st.dictionaries(st.sampled_from(["name", "port"]), st.integers(0, 3), min_size=1).map(
        lambda keys: "k:" + json.dumps(keys, sort_keys=True)
    ),
    st.integers(0, 3).map(lambda value: f"v:{value}"),
)
PATHS = st.lists(st.lists(ELEMENT, min_size=1, max_size=4).map(tuple), max_size=8)


def made(paths):
    out = FieldSet()
    for path in paths:
        out.insert(path)
    return out


@given(PATHS)
def test_encodes_and_decodes_to_the_same_set(paths):
    fields = made(paths)
    assert set(decode(json.loads(json.dumps(fields.encode()))).paths()) == set(paths) == set(fields.paths())


@given(PATHS, PATHS)
def test_is_an_algebra_of_sets(left, right):
    a, b, one, two = made(left), made(right), set(left), set(right)
    assert set((a | b).paths()) == one | two
    assert set((a & b).paths()) == one & two
    assert set((a - b).paths()) == one - two
    assert bool(a - b) is bool(one - two)
    assert ((a | b) == (b | a)) is True


@given(st.recursive(st.none() | st.text(max_size=4), lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3)))
def test_foreign_fields_are_read_or_refused(value):
    if isinstance(value, dict):
        with contextlib.suppress(ValueError):
            assert set(decode(decode(value).encode()).paths()) == set(decode(value).paths())


def test_paths_are_readable():
    assert readable(("f:spec", 'k:{"name":"a"}', "f:image")) == '.spec[name="a"].image'
    assert readable(("f:tags", 'v:"x"')) == '.tags[="x"]'


def test_refuses_what_is_no_path_element():
    with pytest.raises(ValueError, match="no path element"):
        decode({"spec": {}})
