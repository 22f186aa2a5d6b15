"""The demo's timeline: read from log lines of one trace, in the order of the flow, complete or not."""

import json
from datetime import UTC, datetime

from service.demo.fleet import files, objects
from service.demo.slack import text_of
from service.demo.timeline import STEPS, Timeline

SENT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def line(message: str, milliseconds: float, trace: str = "feed", **fields: object) -> str:
    moment = datetime.fromtimestamp(SENT + milliseconds / 1000, UTC)
    return json.dumps({"msg": message, "ts": moment.isoformat(), "trace": trace, **fields})


def told(timeline: Timeline) -> None:
    timeline.read(line("hook accepted", 2, seconds=0.0015))
    timeline.read(line("new revision", 60, revision="main@sha1:1"))
    timeline.read(line("revision spread", 62, run=1, still=3))
    timeline.read(line("built", 70, object="Kustomization/a/b", objects=3))
    timeline.read(line("applied", 80, changes=["ConfigMap/a/b created"]))
    timeline.read(line("reconciled", 90))


def test_tells_each_step_of_the_delivery_in_order() -> None:
    timeline = Timeline()
    timeline.start(SENT)
    told(timeline)
    assert timeline.complete
    rows = timeline.rows()
    assert [(step, round(at, 1)) for step, at, _ in rows] == [
        ("received", 0.5), ("verified", 2.0), ("fetched", 60.0), ("compared", 62.0), ("built", 70.0), ("applied", 80.0), ("healthy", 90.0),
    ]  # fmt: skip
    assert rows[5][2] == "ConfigMap/a/b created"


def test_leaves_out_what_belongs_to_another_delivery_or_came_before() -> None:
    timeline = Timeline()
    timeline.start(SENT)
    timeline.read(line("hook accepted", -500, trace="old"))
    timeline.read(line("hook accepted", 1, seconds=0.001))
    timeline.read(line("applied", 5, trace="other", changes=["x"]))
    timeline.read("not json")
    timeline.read('{"msg": "applied"}')
    timeline.read("[1]")
    assert timeline.trace == "feed"
    assert "applied" in timeline.missing


def test_each_step_is_one_that_the_service_logs() -> None:
    timeline = Timeline()
    timeline.start(SENT)
    told(timeline)
    assert {step.message for step in STEPS} == set(timeline.seen)


def test_fleet_has_an_overlay_for_each_kustomization() -> None:
    paths = {
        each["spec"]["path"].removeprefix("./")
        for each in objects(git_url="http://g", slack_url="http://s")
        if each["kind"] == "Kustomization"
    }
    assert len(paths) == 4
    assert all(f"{path}/kustomization.yaml" in files() for path in paths)


def test_text_of_a_message_is_in_reading_order() -> None:
    message = {
        "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "one"}}, {"fields": [{"type": "mrkdwn", "text": "two"}]}]
    }
    assert text_of(message) == ["one", "two"]
