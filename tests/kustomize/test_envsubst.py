"""The dialect of variables, against recorded answers of Flux's own library (envsubst/origin.txt)."""

import base64
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kustomize.envsubst import BadTemplate, substitute

RECORDED = json.loads((Path(__file__).parent / "envsubst" / "cases.json").read_text())
VALUES = RECORDED["values"]


def answer(template: str, *, strict: bool) -> dict[str, str]:
    try:
        made = substitute(template, VALUES.get if strict else lambda name: VALUES.get(name, ""))
    except BadTemplate as error:
        return {"error": str(error)}
    return {"base64": base64.b64encode(made).decode()}


def test_every_recorded_template_gives_flux_answer() -> None:
    wrong = [
        (case["template"], found)
        for case in RECORDED["cases"]
        if (found := answer(case["template"], strict=case["strict"])) != {key: case[key] for key in ("error", "base64") if key in case}
    ]
    assert not wrong
    assert len(RECORDED["cases"]) > 500


@pytest.mark.parametrize("deep", [10_000])
def test_many_variables_and_a_long_text_are_no_trouble(deep: int) -> None:
    assert substitute("${a} $${a} x" * deep, {"a": "1"}.get) == b"1 ${a} x" * deep


@given(st.text(alphabet="${}ab:-=/#%^,\\*[] é\0"))
def test_any_text_gives_bytes_or_a_bad_template(text: str) -> None:
    with suppress(BadTemplate):
        assert isinstance(substitute(text, lambda name: "x" if name == "a" else None), bytes)


@given(st.text(alphabet=st.characters(exclude_characters="$\0", exclude_categories=("Cs",))))
def test_a_text_without_variables_stays(text: str) -> None:
    assert substitute(text, lambda _name: None) == text.encode()
