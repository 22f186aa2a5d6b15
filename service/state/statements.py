"""Named SQL statements: a line `-- name: some_name` starts each; other comments stay with their statement.

In: the name of a file. Out: what is the same for both databases, from `sql/<file>.sql`, and what is not, from `sql/<dialect>/<file>.sql`,
where each dialect has a statement of each name. Values are named `:value`, for PostgreSQL as its client wants it.
https://www.psycopg.org/psycopg3/docs/basic/params.html
"""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

Dialect = Literal["sqlite", "postgres"]

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_LISTED = re.compile(r"SELECT value FROM json_each\((:\w+)\)")
_VALUE = re.compile(r"(?<![:\w]):(\w+)")
_SQL = files("service.state") / "sql"


class BadStatements(ValueError):
    """A file of statements that breaks the form; a fault of the package."""


def parse(text: str) -> Mapping[str, str]:
    """Return name -> statement, in the order of the text. Raises BadStatements for SQL before the first name, an empty one or a double."""
    preamble, *rest = _NAME.split(text)
    if any(line.strip() and not line.startswith("--") for line in preamble.splitlines()):
        raise BadStatements("SQL before the first `-- name:` line")
    found: dict[str, str] = {}
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        statement = body.strip().removesuffix(";")
        if not statement or name in found:
            raise BadStatements(f"statement {name} is {'empty' if not statement else 'there twice'}")
        found[name] = statement
    return MappingProxyType(found)


def load(file: str, dialect: Dialect) -> Mapping[str, str]:
    """Return the statements of a file in one dialect. Raises FileNotFoundError, BadStatements."""
    places = [each for each in (_SQL / f"{file}.sql", _SQL / dialect / f"{file}.sql") if each.is_file()]
    if not places:
        raise FileNotFoundError(f"no statements {file} in {dialect}")
    found: dict[str, str] = {}
    for place in places:
        given = parse(place.read_text(encoding="utf-8"))
        if double := found.keys() & given.keys():
            raise BadStatements(f"{', '.join(sorted(double))}: the same for both, and {dialect}'s own")
        found.update(given)
    return MappingProxyType({name: of_client(each) for name, each in found.items()} if dialect == "postgres" else found)


def of_client(statement: str) -> str:
    """A statement with its values as psycopg names them, and lists of numbers as PostgreSQL takes them apart.

    Raises BadStatements for a percent sign, which would mean something else there.
    """
    if "%" in statement:
        raise BadStatements(f"a percent sign in: {statement}")
    listed = _LISTED.sub(r"SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(\1 AS JSON))", statement)
    return _VALUE.sub(r"%(\1)s", listed)


def migrations(database: str, dialect: Dialect) -> list[Mapping[str, str]]:
    """Return the migrations `<database>_0001.sql`, `_0002.sql`, ... of a dialect in order; number n leads to schema version n."""
    names = sorted(_migrations(database, dialect))
    if names != [f"{database}_{number:04}" for number in range(1, len(names) + 1)]:
        raise BadStatements(f"the migrations of {database} are not numbered without gaps: {', '.join(names)}")
    return [load(name, dialect) for name in names]


def _migrations(database: str, dialect: Dialect) -> Iterator[str]:
    for each in (_SQL / dialect).iterdir():
        if re.fullmatch(rf"{database}_\d{{4}}\.sql", each.name):
            yield each.name.removesuffix(".sql")
