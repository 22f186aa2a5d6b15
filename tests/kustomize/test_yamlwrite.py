"""kustomize's YAML style. Expectations are output of kustomize 5.8.0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kustomize.errors import BuildError
from service.kustomize.yamlread import read_objects
from service.kustomize.yamlwrite import dump

plain_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.sampled_from("\n\té"), max_size=60)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("y", '"y"'), ("on", '"on"'), ("1", '"1"'), ("0644", '"0644"'), ("1e5", '"1e5"'), ("2020-01-02", '"2020-01-02"'),
        ("12:30:45", '"12:30:45"'), ("null", '"null"'), ("", '""'), ("a: b", "'a: b'"), ("# x", "'# x'"), ("*a", "'*a'"),
        ("it's", "it's"), ("<<", "<<"), ("1.2.3", "1.2.3"), ("a\tb", '"a\\tb"'), ("\U0001f600", '"\\U0001F600"'), ("é", "é"),
        ("a\nb", "|-\n  a\n  b"), ("a\nb\n", "|\n  a\n  b"), ("a\n\n", "|+\n  a\n"), (" a\nb", "|2-\n   a\n  b"),
        (None, "null"), (True, "true"), (1.5, "1.5"), (1234567.5, "1.2345675e+06"), (10**20, "1e+20"), ([], "[]"), ({}, "{}"),
        (["a", ["b"]], "\n- a\n- - b"), ({"b": 1, "a": 2}, "\n  a: 2\n  b: 1"),
    ],
)  # fmt: skip
def test_value_is_written_as_kustomize_writes_it(value: object, line: str) -> None:
    separator = "" if line.startswith("\n") else " "
    assert dump([{"k": value}]) == f"k:{separator}{line}\n"


def test_keys_are_in_natural_order() -> None:
    keys = ["a10", "a2", "a", "A", "_a", "a-b", "a.b", "1", "10", "2", "a01", "a1", "é", "/x", ""]
    written = [line.partition(":")[0].strip("\"'? ") for line in dump([dict.fromkeys(keys, 1)]).splitlines()]
    assert written == ["", "/x", "_a", "1", "2", "10", "A", "a", "a-b", "a.b", "a1", "a01", "a2", "a10", "é"]


def test_long_lines_are_folded() -> None:
    assert (
        dump([{"k": "word " * 20 + "end"}]).splitlines()[0]
        == "k: word word word word word word word word word word word word word word word word"
    )


def test_documents_are_separated() -> None:
    assert dump([{"a": 1}, {"b": 2}]) == "a: 1\n---\nb: 2\n"
    assert dump([]) == ""


@given(
    st.dictionaries(
        plain_text.filter(lambda text: text != "<<"),  # written without quotes, as upstream does, it reads as a merge
        st.recursive(
            plain_text | st.integers(-(2**63), 2**64 - 1) | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
        ),
        max_size=4,
    )
)
def test_what_is_written_reads_back(value: dict[str, object]) -> None:
    written = dump([value])
    assert read_objects(written.encode(), None) == [value]


def test_next_line_folds_on_the_way_over_json() -> None:
    assert dump([{"k": "a \x85 b\x85\x85c"}]) == "k: |-\n  a b\n  c\n"


def test_line_separator_at_the_end_is_not_indented() -> None:
    assert dump([{"k": "a\u2028"}]) == "k: 'a\u2028'\n"


def test_control_characters_are_an_error() -> None:
    with pytest.raises(BuildError, match="control characters are not allowed"):
        dump([{"k": "a\x7f"}])
