"""Log lines as machines and people read them."""

import json
import logging
import sys

import pytest

from service import log


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("service.room", logging.INFO, __file__, 1, message, (), None)
    vars(made).update(extra)
    return made


def test_a_json_line_holds_the_fields_and_the_trace_of_the_moment() -> None:
    token = log.trace.set("0123456789abcdef")
    try:
        line = json.loads(log.JsonLines().format(record("new revision", object="GitRepository/apps/fleet", seconds=0.25)))
    finally:
        log.trace.reset(token)
    assert {name: line[name] for name in ("level", "msg", "logger", "object", "seconds", "trace")} == {
        "level": "info",
        "msg": "new revision",
        "logger": "service.room",
        "object": "GitRepository/apps/fleet",
        "seconds": 0.25,
        "trace": "0123456789abcdef",
    }
    assert line["ts"].endswith("Z")


def test_a_json_line_has_the_keys_that_flux_logs_filters_by() -> None:
    line = json.loads(log.JsonLines().format(record("reconciled", object="Kustomization/apps/shop")))
    assert (line["controllerKind"], line["namespace"], line["name"]) == ("Kustomization", "apps", "shop")


def test_what_does_not_apply_is_left_out() -> None:
    line = json.loads(log.JsonLines().format(record("listening", object="")))
    assert not {"trace", "controllerKind", "name", "namespace"} & line.keys()


@pytest.mark.parametrize("form", [log.JsonLines(), log.Text()], ids=("json", "text"))
def test_no_line_holds_a_password_in_a_url(form: logging.Formatter) -> None:
    made = record("fetch failed", error="unable to clone 'https://git:s3cret@host/a.git'", url="http://t0ken@host", mail="ada@example.com")
    try:
        raise ValueError("https://u:hunter2@host")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = form.format(made)
    assert not any(secret in line for secret in ("s3cret", "t0ken", "hunter2"))
    assert "https://***@host/a.git" in line
    assert "ada@example.com" in line
