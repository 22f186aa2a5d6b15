"""GitHub's push payload for a commit, signed with the benchmarks' token. https://docs.github.com/webhooks/webhook-events-and-payloads#push"""

import hashlib
import hmac
import json

from tests.benchmarks.push import TOKEN


def signed(commit: str) -> tuple[bytes, dict[str, str]]:
    """The body and its headers."""
    repository = {"full_name": "bench/fleet", "clone_url": "http://127.0.0.1/fleet.git"}
    payload = {"ref": "refs/heads/main", "before": "0" * 40, "after": commit, "repository": repository, "commits": []}
    body = json.dumps(payload).encode()
    signature = "sha256=" + hmac.new(TOKEN.encode(), body, hashlib.sha256).hexdigest()
    return body, {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": commit,
        "X-Hub-Signature-256": signature,
        "Content-Type": "application/json",
    }
