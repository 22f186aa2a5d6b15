"""Each recorded case of each type: an event, and the requests that come of it."""

import json
from pathlib import Path

import pytest

from providers import PROVIDERS
from tests.providers.conftest import FOLDER, answer_of, event_of, requests_of, seen, target_of

CASES = sorted(path.parent for path in FOLDER.glob("*/*/event.json") if PROVIDERS[path.parent.parent.name].publish is None)


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_requests_equal_the_recording(case: Path) -> None:
    given = json.loads((case / "event.json").read_text())
    provider = PROVIDERS[case.parent.name]
    answers = [answer_of(each) for each in given.get("answers", [])]
    requests = [seen(each) for each in requests_of(provider, event_of(given["event"]), target_of(given["target"]), answers)]
    recorded = json.loads((case / "request.json").read_text())
    assert requests == (recorded if isinstance(recorded, list) else [recorded])
