"""Expressions as Flux takes them: checked before they run, evaluated with bounds, and never a problem for anyone else."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service import cel
from service.cel import Ask, BadExpression, Evaluator, Expression, compile_expression, evaluate_here

KNOWN = frozenset({"req", "res"})
REQ: dict[str, Any] = {"a": 1, "l": ["x", "y"], "s": "Ab-Cd", "n": None, "f": 1.5, "t": True, "m": {"k": "v"}}
MANY = "[" + ",".join(["1"] * 200) + "]"
HOSTILE = {
    "time": f"{MANY}.all(a,{MANY}.all(b,{MANY}.all(c,{MANY}.all(d,d==1))))",
    "memory": "['aaaaaaaa']" + ".map(x,x+x+x+x+x+x+x+x)" * 12 + " == []",
}


@pytest.fixture
async def evaluator() -> AsyncIterator[Evaluator]:
    made = Evaluator()
    yield made
    await made.close()


def ask(*sources: str, **variables: Any) -> Ask:
    return Ask(expressions=tuple(compile_expression(source, KNOWN) for source in sources), variables=variables)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("foo.", "failed to parse the CEL expression 'foo.': ERROR: <input>:1:5: Syntax error"),
        ("", "failed to parse"),
        ("foo == 1", "undeclared reference to 'foo'"),
        ("req.foo()", "undeclared reference to 'foo'"),
        ("req.l.exists(x, y == 'x')", "undeclared reference to 'y'"),
        ("req.l.exists(i, x, x == 'x')", "undeclared reference to"),
        ("cel.bind(x, 1, x == 1)", "undeclared reference to"),
        ("req", "expected bool"),
        ("req.t", "expected bool"),
        ("'true'", "expected bool"),
        ("req.a + 1", "expected bool"),
        ("req.t ? req.t : false", "expected bool"),
        ("(req.s)", "expected bool"),
        ("[true]", "expected bool"),
        ("x" * 4097, "too long"),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_runs(source: str, words: str) -> None:
    with pytest.raises(BadExpression, match="CEL expression") as caught:
        compile_expression(source, KNOWN)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("req.a == 1", True),
        ("req.a < 1.5", True),
        ("has(req.zz)", False),
        ("has(req.a) && req.a == 1", True),
        ("!has(req.zz) || req.zz == 1", True),
        ("'x' in req.l", True),
        ("req.l.exists(x, x.startsWith('y'))", True),
        ("(req.a == 1 ? has(req.b) : true)", False),
        ("req.s.split('-')[0].lowerAscii() == 'ab'", True),
        ("req.s.split('-').first().value() == 'Ab' && req.s.split('-').last().orValue('') == 'Cd'", True),
        ("req.s.replace('A', 'B').upperAscii().substring(0, 2) == 'BB' && req.s.indexOf('-') == 2", True),
        ("['a', 'b'].join('/') == 'a/b' && ' x '.trim() == 'x' && 'ab'.charAt(1) == 'b' && 'ab'.reverse() == 'ba'", True),
        ("sets.contains(req.l, ['x']) && sets.intersects(req.l, ['y', 'z']) && !sets.equivalent(req.l, ['x'])", True),
        ("base64.encode(b'hi') == 'aGk=' && base64.decode('aGk=') == b'hi'", True),
        ("'%s-%d-%.1f' == '' || '%s-%d-%.1f'.format(['a', 2, 1.25]) == 'a-2-1.2'", True),
        ("type(req.a) == int && req.n == null && req.m.k.matches('^v$')", True),
        ('req.s == "sets.contains(" // sets.contains(1)', False),
        ("size(req.l) == 2 && req.l.all(x, size(x) == 1) && req.l.filter(x, x == 'x') == ['x']", True),
        ("timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-02T00:00:00Z') && duration('1h') > duration('1m')", True),
    ],
)
def test_flux_functions_are_there(source: str, value: bool) -> None:
    assert evaluate_here(compile_expression(source, KNOWN), {"req": REQ, "res": {}}).value is value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("req.zz == 1", "no such key: zz"),
        ("req.l[5] == 'x'", "out of bounds"),
        ("req.s > 1", "No such overload"),
        ("req.s.split(1) == []", "no such overload"),
        ("1 / 0 == 1", "division by zero"),
        ("req.s.charAt(77) == ''", "out of range"),
    ],
)
def test_an_evaluation_without_a_value_says_why(source: str, words: str) -> None:
    found = evaluate_here(compile_expression(source, KNOWN), {"req": REQ, "res": {}})
    assert (found.value, found.holds) == (None, False)
    assert words in found.problem
    assert source in found.problem


def test_names_are_those_that_are_read() -> None:
    assert compile_expression("req.l.exists(x, x == res.metadata.name)", KNOWN).names == {"req", "res"}
    assert compile_expression("res.kind == 'x'", KNOWN).names == {"res"}
    assert compile_expression("status.ready == spec.want").names == {"status", "spec"}
    assert compile_expression("req.a", KNOWN, "any").gives == "any"


def test_text_is_demanded_where_text_is_meant() -> None:
    assert evaluate_here(compile_expression("'a/' + req.s", KNOWN, "text"), {"req": REQ}).value == "a/Ab-Cd"
    assert "as string" in evaluate_here(compile_expression("req.a", KNOWN, "text"), {"req": REQ}).problem


async def test_asks_share_what_is_sent_once(evaluator: Evaluator) -> None:
    shared = {"req": json.dumps(REQ).encode()}
    asks = [ask("req.a == 1", f"res.n < {n}", res={"n": 1}) for n in (0, 1, 2)]
    assert [(each.holds, each.failed) for each in await evaluator.evaluate(shared, asks)] == [(False, 1), (False, 1), (True, -1)]
    assert (await evaluator.evaluate(shared, [ask("res.n == 1", res={})]))[0].problem


async def test_steps_see_those_before_them(evaluator: Evaluator) -> None:
    names = frozenset({"claims", "vars"})
    steps = (
        ("owner", compile_expression("claims.sub.split(':')[1]", names, "any")),
        ("up", compile_expression("vars.owner.upperAscii()", names, "any")),
    )
    good = Ask(expressions=(compile_expression("vars.up == 'ACME'", names),), variables={"claims": {"sub": "repo:acme"}}, steps=steps)
    bad = Ask(expressions=(compile_expression("true", names),), variables={"claims": {}}, steps=steps)
    first, second = await evaluator.evaluate({}, [good, bad])
    assert first.holds
    assert "the variable owner" in second.problem


@pytest.mark.parametrize("cost", HOSTILE)
async def test_what_costs_too_much_is_stopped_and_others_go_on(evaluator: Evaluator, cost: str) -> None:
    """Takes a second of processor time, which the loop does not notice."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - began)

    ticking = asyncio.create_task(tick(), name="tick")
    (found,) = await evaluator.evaluate({}, [ask(HOSTILE[cost])])
    ticking.cancel()
    assert "stopped" in found.problem
    assert max(lags) < 0.5
    assert (await evaluator.evaluate({}, [ask("1 == 1")]))[0].holds
    began = time.perf_counter()
    assert "a moment ago" in (await evaluator.evaluate({}, [ask(HOSTILE[cost])]))[0].problem
    assert time.perf_counter() - began < 0.05


async def test_a_loop_of_strings_in_python_ends(evaluator: Evaluator) -> None:
    (found,) = await evaluator.evaluate({}, [ask("['x']" + ".map(x, [x,x,x,x,x,x,x,x].join(x))" * 10 + " == []")])
    assert found.problem


_SIGNS = "req res . a ( ) [ ] == && || ? : ! 'x' \" ' 1 - + in has( .all(x, x , { } true sets.contains( // r' \\ 0x 1u b' é \x00"
_WORDS = st.sampled_from(_SIGNS.split(" "))


@settings(max_examples=300, deadline=None)
@given(st.lists(_WORDS, max_size=25).map(" ".join) | st.text(max_size=40))
@example("(" * 2000 + ")" * 2000)
@example("!" * 4000 + "true")
@example("-" * 4000 + "1 == 1")
@example("1" + "+1" * 2000 + " == 1")
@example("req" + ".a" * 2000 + " == 1")
def test_any_text_is_compiled_or_refused(source: str) -> None:
    try:
        made = compile_expression(source, KNOWN)
    except BadExpression:
        return
    assert isinstance(made, Expression)
    evaluate_here(made, {"req": {}, "res": {}})


def test_compiling_is_shared() -> None:
    assert compile_expression("req.a == 1", KNOWN) is compile_expression("req.a == 1", KNOWN)
    assert cel.LONGEST == 4096
