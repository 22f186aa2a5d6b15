"""Named statements: found by name, and only whole files are taken."""

import re

import pytest

from service.state import statements


def test_parse_keeps_names_in_order_and_drops_the_semicolon() -> None:
    found = statements.parse("-- about\n\n-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT\n  2;\n")
    assert list(found.items()) == [("one", "SELECT 1"), ("two", "-- why\nSELECT\n  2")]


@pytest.mark.parametrize(
    "text", ["SELECT 1;\n-- name: a\nSELECT 2;", "-- name: a\n-- name: b\nSELECT 1;", "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;"]
)
def test_parse_refuses_what_has_no_name_or_is_empty_or_double(text: str) -> None:
    with pytest.raises(statements.BadStatements):
        statements.parse(text)


def test_migrations_are_numbered_without_gaps() -> None:
    assert [len(statements.migrations(name, "sqlite")) for name in ("state", "cache")] == [4, 3]
    assert len(statements.migrations("state", "postgres")) == 1
    assert statements.migrations("no_such_database", "sqlite") == []


@pytest.mark.parametrize("file", ["inbox", "journal", "outbox", "letters", "held"])
def test_each_dialect_has_a_statement_of_each_name(file: str) -> None:
    ours, theirs = statements.load(file, "sqlite"), statements.load(file, "postgres")
    assert ours.keys() == theirs.keys()
    assert not [each for each in theirs.values() if re.search(r":\w", each)]


def test_values_are_named_as_the_client_wants_them() -> None:
    given = "SELECT :a, 'b:c', d::text WHERE id IN (SELECT value FROM json_each(:ids)) AND e = :a"
    listed = "SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(%(ids)s AS JSON))"
    assert statements.of_client(given) == f"SELECT %(a)s, 'b:c', d::text WHERE id IN ({listed}) AND e = %(a)s"
    with pytest.raises(statements.BadStatements):
        statements.of_client("SELECT 1 WHERE a LIKE 'b%'")
