"""Conditions: negative ones only while True, times move with what is said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from service.reconcile.conditions import condition, merged


def test_negative_condition_goes_when_it_is_not_true() -> None:
    before = merged((), [condition("Stalled", "True", "URLInvalid", "mend", 1)])
    after = merged(before, [condition("Stalled", "False", "", "", 2), condition("Ready", "True", "Succeeded", "stored", 2)])
    assert [(c.type, c.status) for c in after] == [("Ready", "True")]


def test_time_stays_while_nothing_new_is_said() -> None:
    old = replace(condition("Ready", "True", "Succeeded", "stored", 1), last_transition_time=datetime.now(UTC) - timedelta(hours=1))
    (same,) = merged([old], [condition("Ready", "True", "Succeeded", "stored", 2)])
    assert (same.last_transition_time, same.observed_generation) == (old.last_transition_time, 2)
    (moved,) = merged([old], [condition("Ready", "True", "Succeeded", "stored again", 2)])
    assert moved.last_transition_time is not None
    assert old.last_transition_time is not None
    assert moved.last_transition_time > old.last_transition_time


def test_ready_follows_the_negative_ones() -> None:
    found = merged(
        (), [condition("Ready", "False", "BuildFailed", "x", 1), condition("Reconciling", "True", "ProgressingWithRetry", "x", 1)]
    )
    assert [c.type for c in found] == ["Reconciling", "Ready"]
