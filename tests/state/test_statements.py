"""Named statements: found by name, and only whole files are taken."""

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
    assert [len(statements.migrations(name)) for name in ("state", "cache")] == [4, 3]
    assert statements.migrations("no_such_database") == []
