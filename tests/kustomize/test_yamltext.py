"""YAML texts that are edited in place."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kustomize.errors import BuildError
from service.kustomize.transformers.yamltext import YamlText
from service.kustomize.yamlread import read_node


def _edited(text: str, key: str, value: object) -> str:
    source = YamlText(dedent(text))
    assert source.set(source.document, key, value)
    return source.dump()


def test_comments_quotes_and_flow_stay() -> None:
    text = """\
        # the top

        a: "old"  # beside
        # above
        b: {c: 'd', e: [1, 0x10]}
        list:
          - x: 1

          - y: |
              text
        # the end
    """
    expected = """\
        # the top

        a: "new" # beside
        # above
        b: {c: 'd', e: [1, 0x10]}
        list:
        - x: 1
        - y: |
            text
        # the end"""
    assert _edited(text, "a", "new") == dedent(expected)


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        ("8080", "9090", "9090"),
        ("8080", "word", "!!int word"),
        ("1.5", "word", "!!float word"),
        ("true", "word", "!!bool word"),
        ("", "word", "!!null word"),
        ("old", "42", '"42"'),
        ("'old'", "42", "'42'"),
        ("!!str 1", "2", "!!str 2"),
        ("[1, 2]", "word", "word"),
        ("&x old", "new", "&x new"),
    ],
)
def test_scalar_keeps_its_type(old: str, new: str, written: str) -> None:
    assert _edited(f"a: {old}\n", "a", new) == f"a: {written}"


def test_new_keys_are_written_behind() -> None:
    source = YamlText("a:\n  b: 1\n")
    source.document["a"]["c"] = {"d": ["e"]}
    assert source.dump() == "a:\n  b: 1\n  c:\n    d:\n    - e"


def test_alias_stays_an_alias() -> None:
    source = YamlText("a: &x {k: 1}\nb: *x\n")
    assert source.document == {"a": {"k": 1}, "b": {"k": 1}}
    assert source.dump() == "a: &x {k: 1}\nb: *x"


def test_what_is_no_yaml_is_an_error() -> None:
    with pytest.raises(BuildError):
        YamlText("a: [")
    with pytest.raises(BuildError):
        YamlText("[" * 500)


words = st.sampled_from(("a", "b c", "1", "0x1f", "true", "null", "", "# x", "é", "l1\nl2", "a: b", "- x", " s ", "2020-01-01"))
values = st.recursive(
    words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(values)
def test_new_values_read_back(value: object) -> None:
    source = YamlText("k: old\n")
    source.document["new"] = value
    assert read_node(source.dump()) == {"k": "old", "new": value}
