"""CEL, the expression language of Flux's filters: compiled and checked here, evaluated in a process of its own.

In: expressions of users and JSON of strangers. Out: a program, or BadExpression in Flux's words; then values, or why there is none. The
library holds the interpreter while it evaluates, and an expression of a line can take hours or all memory: so evaluation has its own
process with bounds on processor time and memory, which the kernel enforces. https://github.com/google/cel-spec and
https://github.com/fluxcd/pkg/tree/main/runtime/cel
"""

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal, TypeGuard

from service.celcheck import BUILT_IN, TYPES, source_of
from service.celfunctions import FUNCTIONS
from service.cellibrary import cel
from service.workers import Workers, bound_memory

LONGEST = 4096  # characters of an expression: the library's recursion ends the process somewhere beyond 20,000
CPU_SECONDS, DATA_BYTES = 1.0, 256 * 1024 * 1024
WAIT = timedelta(seconds=10)
COMPILED = 512
BANNED_SECONDS = 60.0  # an expression that was stopped is not tried again for so long, so that it cannot hold up the others

Gives = Literal["truth", "text", "any"]


class BadExpression(Exception):
    """The expression cannot be used, ever; the message is Flux's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A checked expression. `source` is the user's, `code` what the library gets, `names` the variables that it reads."""

    source: str
    code: str
    gives: Gives
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One evaluation: all expressions must hold, in order. `steps` are evaluated before, each seen by what follows as `vars.<name>`."""

    expressions: tuple[Expression, ...]
    variables: Mapping[str, Any]
    steps: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The value of the last expression that counted, or `problem`: why there is none. `failed` numbers the one that did not hold."""

    value: Any = None
    problem: str = ""
    failed: int = -1

    @property
    def holds(self) -> bool:
        """Whether every expression was true."""
        return self.value is True and not self.problem


@lru_cache(COMPILED)
def compile_expression(source: str, variables: frozenset[str] | None = None, gives: Gives = "truth") -> Expression:
    """Return a checked expression over these variables (None: any name, as in Flux's health checks). Raises BadExpression."""
    said = f"failed to parse the CEL expression '{source}'"
    if len(source) > LONGEST:
        raise BadExpression(f"a CEL expression of {len(source)} characters is too long, up to {LONGEST} are evaluated")
    found = source_of(source)
    try:
        program = cel.compile(found.code)
    except ValueError as error:
        _, marker, place = str(error).partition("ERROR: ")
        raise BadExpression(f"{said}: {marker}{place.partition(chr(10))[0] or error}") from error
    unknown = [name for name in program.functions() if name[0] not in "_@!-" and name not in BUILT_IN and name not in FUNCTIONS]
    if variables is not None:
        unknown += sorted(set(program.variables()) - variables - TYPES - found.bound)
    if unknown:
        raise BadExpression(f"{said}: ERROR: <input>:1:1: undeclared reference to '{unknown[0]}'")
    if variables is not None and gives == "truth" and not found.is_truth():
        raise BadExpression(f"CEL expression output type mismatch: expected bool: compare the value, as in `... == true`: '{source}'")
    return Expression(source=source, code=found.code, gives=gives, names=frozenset(program.variables()) - found.bound)


class Evaluator:
    """Evaluates one thing after the other, so that what is stopped for its costs is the one to blame."""

    def __init__(self) -> None:
        self._workers = Workers(1)
        self._turn = asyncio.Lock()
        self._banned: dict[str, float] = {}

    async def evaluate(self, shared: Mapping[str, bytes], asks: Sequence[Ask]) -> tuple[Result, ...]:
        """Return a Result for each ask, in order. `shared` are variables of all, as JSON. Never raises for what an expression does."""
        now = asyncio.get_running_loop().time()
        banned = {source for source, until in self._banned.items() if until > now}
        if banned & {each.source for ask in asks for each in ask.expressions}:
            return (Result(problem="not evaluated: the expression took too long or too much memory a moment ago"),) * len(asks)
        try:
            async with asyncio.timeout(WAIT.total_seconds()), self._turn:
                return await self._workers.run(_evaluate, dict(shared), tuple(asks), timeout=WAIT)
        except TimeoutError:
            return (Result(problem=f"not evaluated within {WAIT.total_seconds():g} s"),) * len(asks)
        except ChildProcessError:
            self._ban(asks)
            bounds = f"{CPU_SECONDS:g} s of processor time or {DATA_BYTES // 2**20} MiB"
            return (Result(problem=f"stopped: the expressions took more than {bounds}; make them simpler"),) * len(asks)

    def _ban(self, asks: Sequence[Ask]) -> None:
        now = asyncio.get_running_loop().time()
        self._banned = {source: until for source, until in self._banned.items() if until > now}
        self._banned.update({each.source: now + BANNED_SECONDS for ask in asks for each in ask.expressions})

    async def close(self) -> None:
        """End the process."""
        await self._workers.close()


def evaluate_here(expression: Expression, variables: Mapping[str, Any]) -> Result:
    """Evaluate in this process, without bounds: for expressions and values that nobody else chooses, such as in tests."""
    return _result(Ask(expressions=(expression,), variables=variables), _context({}))


def _evaluate(shared: Mapping[str, bytes], asks: Sequence[Ask]) -> tuple[Result, ...]:
    """In the process: under the kernel's limits, since no Python runs while the library evaluates."""
    _prepare()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        values = {name: json.loads(text) for name, text in shared.items()}
        context = _context(values)
        return tuple(_result(ask, context) for ask in asks)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@lru_cache(1)
def _prepare() -> None:
    """Bound the memory; and be quiet, since the library prints values of strangers when a function fails or memory runs out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
    bound_memory(DATA_BYTES)


def _context(values: Mapping[str, Any]) -> cel.Context:
    return cel.Context(variables=dict(values), functions=dict(FUNCTIONS))


@lru_cache(COMPILED)
def _program(code: str) -> cel.Program:
    return cel.compile(code)


def _result(ask: Ask, context: cel.Context) -> Result:
    context.update(dict(ask.variables))
    named: dict[str, Any] = {}
    if ask.steps:
        context.add_variable("vars", named)
    for name, step in ask.steps:
        found = _value(step, context)
        if found.problem:
            return Result(problem=f"the variable {name}: {found.problem}")
        named[name] = found.value
        context.add_variable("vars", named)
    found = Result()
    for number, expression in enumerate(ask.expressions):
        found = _value(expression, context)
        if found.problem or (expression.gives == "truth" and not found.value):
            return Result(value=found.value, problem=found.problem, failed=number)
    return found


def _value(expression: Expression, context: cel.Context) -> Result:
    said = f"failed to evaluate the CEL expression '{expression.source}'"
    try:
        value = _program(expression.code).execute(context)
    except KeyError as error:
        return Result(problem=f"{said}: no such key: {error.args[0] if error.args else ''}")
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        return Result(problem=f"{said}: {_reason(error)}")
    wanted = {"truth": bool, "text": str}.get(expression.gives)
    if wanted is not None and not isinstance(value, wanted):
        return Result(problem=f"failed to evaluate CEL expression as {'boolean' if wanted is bool else 'string'}: '{expression.source}'")
    if isinstance(value, cel.OptionalValue):
        return Result(problem=f"{said}: it is an optional: add .value() or .orValue()")
    return Result(value=value)


def _reason(error: Exception) -> str:
    found = re.search(r"Python function call failed: \w+: (.*?)(?:\. Check|$)", str(error))
    return (found[1] if found else str(error).partition(". ")[0])[:300]


def is_identifier(name: object) -> TypeGuard[str]:
    """Whether CEL takes a text for a name."""
    return isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None
