"""Named SQL statements out of `sql/*.sql`: a line `-- name: some_name` starts each; other comments stay with their statement."""

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


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


def load(file: str) -> Mapping[str, str]:
    """Return the statements of `sql/<file>.sql`. Raises FileNotFoundError, BadStatements."""
    return parse((files("service.state") / "sql" / f"{file}.sql").read_text(encoding="utf-8"))


def migrations(database: str) -> list[Mapping[str, str]]:
    """Return the migrations `sql/<database>_0001.sql`, `_0002.sql`, ... in order; number n leads to schema version n."""
    names = sorted(each.name for each in (files("service.state") / "sql").iterdir() if re.fullmatch(rf"{database}_\d{{4}}\.sql", each.name))
    if names != [f"{database}_{number:04}.sql" for number in range(1, len(names) + 1)]:
        raise BadStatements(f"the migrations of {database} are not numbered without gaps: {', '.join(names)}")
    return [load(name.removesuffix(".sql")) for name in names]
