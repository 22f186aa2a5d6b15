"""Failures are tried again, soon at first, never later than retryInterval, and the object says when."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.kinds.meta import ObjectKey, parse_time
from service.kustomizations.retries import FIRST, Retries
from tests.kustomizations.test_flow import app
from tests.kustomizations.town import Town, config_map, ready

KEY = ObjectKey(group="", kind="Kustomization", namespace="x", name="y")


@given(st.integers(1, 40), st.timedeltas(timedelta(seconds=1), timedelta(days=2)))
def test_waits_grow_and_stay_under_the_interval(times: int, most: timedelta) -> None:
    retries = Retries()
    waits = [retries.failed(KEY, occasion="1/a", most=most) for _ in range(times)]
    for number, wait in enumerate(waits):
        assert wait is not None
        assert wait <= most
        assert wait >= 0.8 * min(most, FIRST * 2**number)
    assert retries.times(KEY) == times
    again = retries.failed(KEY, occasion="1/b", most=most)
    assert again is not None
    assert again <= min(most, FIRST), "a new revision begins anew"
    retries.done(KEY)
    assert retries.times(KEY) == 0


def test_without_an_interval_time_alone_asks_for_nothing() -> None:
    assert Retries().failed(KEY, occasion="", most=timedelta(0)) is None


async def test_the_next_attempt_and_the_failures_are_in_the_status(hamlet: Town) -> None:
    hamlet.repository.commit(app("shop") | {"shop/more.yaml": config_map("Bad Name", "1")})
    await hamlet.start()
    await hamlet.apply(hamlet.source(), hamlet.kustomization("shop", retryInterval="10m"))
    before = datetime.now(UTC).replace(microsecond=0)
    seen = await hamlet.not_ready("shop", "ReconciliationFailed")
    (said,) = (each["message"] for each in seen["status"]["conditions"] if each["type"] == "Reconciling")
    found = re.match(r"next attempt at (\S+): (.*)", said)
    assert found is not None
    assert before + timedelta(seconds=4) <= parse_time(found[1]) <= before + timedelta(seconds=8)
    assert found[2] == ready(seen)["message"].splitlines()[0], "Ready says the same each time"
    (entry,) = seen["status"]["history"]
    assert (entry["lastReconciledStatus"], entry["totalReconciliations"]) == ("ReconciliationFailed", 1)
    assert entry["metadata"] == {"revision": hamlet.revision}
    await hamlet.ask("shop", "again")
    seen = await hamlet.wait("Kustomization", "shop", lambda now: now["status"].get("lastHandledReconcileAt") == "again")
    assert [each["totalReconciliations"] for each in seen["status"]["history"]] == [2]
    fixed = hamlet.push({"shop/more.yaml": config_map("good", "1")})
    (seen,) = await hamlet.at(fixed, "shop")
    assert [each["lastReconciledStatus"] for each in seen["status"]["history"]] == ["ReconciliationSucceeded", "ReconciliationFailed"]
    assert [each["type"] for each in seen["status"]["conditions"]] == ["Ready"]
