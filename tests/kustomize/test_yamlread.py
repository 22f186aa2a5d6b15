"""The two dialects, as kustomize's binary reads them."""

import pytest

from service.kustomize import nulls, yamlread
from service.kustomize.errors import BuildError
from service.kustomize.scalars import text_of
from service.kustomize.yamlread import read_objects, read_value


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("yes", True, "yes"),
        ("y", True, "y"),
        ("off", False, "off"),
        ("True", True, True),
        ("~", None, None),
        ("0644", 420, 420),
        ("0o17", 15, 15),
        ("0x1F", 31, 31),
        ("0b11", 3, 3),
        ("1_000", 1000, 1000),
        ("08", 8, 8),
        ("-5", -5, -5),
        ("1.0", 1, 1),
        ("1e3", 1000, 1000),
        (".5", 0.5, 0.5),
        ("12:30", "12:30", "12:30"),
        ("2020-01-02", "2020-01-02", "2020-01-02T00:00:00Z"),
        ("2020-01-02T03:04:05.6+02:00", "2020-01-02T03:04:05.6+02:00", "2020-01-02T03:04:05.6+02:00"),
        ("2020-13-02", "2020-13-02", "2020-13-02"),
        ("18446744073709551616", 18446744073709551616, 18446744073709551616),
        ('"1"', "1", "1"),
        ("!!str 1", "1", "1"),
        ('!!int "3"', 3, 3),
        ("!!binary aGk=", "hi", "hi"),
    ],
)
def test_scalar_reads_as_in_its_dialect(text: str, old: object, new: object) -> None:
    data = f"a: {text}\n".encode()
    assert read_value(data, None) == {"a": old}
    (found,) = read_objects(data, None)
    nulls.take(found)
    assert found == {"a": new}
    assert type(found["a"]) is type(new) or isinstance(found["a"], type(new))  # a number may keep its text


def test_numbers_and_dates_keep_their_text() -> None:
    (found,) = read_objects(b"a: 1.10\nb: 0644\nc: 2020-01-02\nd: 7\n", None)
    assert [text_of(value) for value in found.values()] == ["1.10", "0644", "2020-01-02", "7"]


def test_old_dialect_makes_keys_strings_and_takes_the_last() -> None:
    assert read_value(b"80: a\non: b\n1.5: c\nx: 1\nx: 2\n", None) == {"80": "a", "true": "b", "1.5": "c", "x": 2}


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2\n",
        "80: x\n",
        "True: x\n",
        "a: .inf\n",
        'a: "x\\/y"\n',
        "a: *nope\n",
        "a: &x [*x]\n",
        "a: [\n",
        "a:\n\tb: 1\n",
        "a: 1\n--- b\nc: 2\n",
    ],
)
def test_objects_refuse_what_kustomize_refuses(text: str) -> None:
    with pytest.raises(BuildError) as caught:
        read_objects(text.encode(), "f.yaml")
    assert caught.value.file == "f.yaml"


def test_documents_are_split_and_empty_ones_left_out() -> None:
    text = b"\xef\xbb\xbf# first\r\n---\r\na: 1\r\n--- # second\r\nb: |\r\n  x\r\n---\r\n\r\n---\r\nc: 3\r\n"
    assert read_objects(text, None) == [{"a": 1}, {"b": "x\n"}, {"c": 3}]
    assert read_objects(b"a: 1\n---", None) == [{"a": 1}]
    assert read_objects(b"", None) == []


def test_a_lone_list_comes_back_as_its_items() -> None:
    assert read_objects(b"kind: List\nitems: [{a: 1}, null, {b: 2}]\n", None) == [{"a": 1}, {"b": 2}]
    assert len(read_objects(b"kind: List\nitems: [{a: 1}]\n---\nx: 1\n", None)) == 2


def test_aliases_and_merge_keys_are_written_out_and_not_shared() -> None:
    (found,) = read_objects(b"a: &a {x: 1, y: [1]}\nb: *a\nc: {<<: *a, x: 2}\nd: {<<: [{x: 1}, {x: 2, z: 3}]}\n", None)
    assert found == {"a": {"x": 1, "y": [1]}, "b": {"x": 1, "y": [1]}, "c": {"x": 2, "y": [1]}, "d": {"x": 1, "z": 3}}
    found["a"]["y"].append(2)
    assert found["b"]["y"] == [1]
    assert found["c"]["y"] == [1]


def test_depth_is_bounded() -> None:
    with pytest.raises(BuildError, match="deeper"):
        read_objects(b"[" * 500 + b"]" * 500, None)


def test_alias_expansion_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlread, "MAX_NODES", 10_000)
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(BuildError, match="aliasing"):
        read_objects(bomb.encode(), None)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlread, "MAX_BYTES", 100)
    with pytest.raises(BuildError, match="bytes"):
        read_objects(b"a: " + b"x" * 100, None)


def test_text_that_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(BuildError, match="UTF-8") as caught:
        read_objects(b"a: 1\nb: \xff\n", "f")
    assert caught.value.line == 2


def test_error_of_a_later_document_has_the_line_in_the_file() -> None:
    with pytest.raises(BuildError) as caught:
        read_objects(b"a: 1\n---\nb: 2\n---\nc: 3\nd: *nope\n", "f")
    assert caught.value.line == 6
