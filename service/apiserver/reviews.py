"""Access and token reviews: the one user of this server may do everything, and the answer says so.

https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/
"""

from typing import Any

from service.apiserver.discovery import REVIEWS
from service.apiserver.requests import Place

Object = dict[str, Any]
USER = {"username": "embedded-admin", "groups": ["system:masters", "system:authenticated"]}
_PLURALS = {(group, plural): kind for group, plural, kind, _ in REVIEWS}


def is_review(found: Place) -> bool:
    """Return whether a path names a review."""
    return found.version == "v1" and (found.group, found.plural) in _PLURALS and not found.name


def answer(found: Place, body: Any) -> Object:
    """Return the review with its status."""
    kind = _PLURALS[(found.group, found.plural)]
    spec = body.get("spec", {}) if isinstance(body, dict) else {}
    review: Object = {"kind": kind, "apiVersion": f"{found.group}/v1", "metadata": {"creationTimestamp": None}, "spec": spec}
    reason = "the embedded server does not enforce access"
    if kind == "TokenReview":
        review["status"] = {"authenticated": False, "user": {}, "error": "the embedded server issues no service account tokens"}
        review["spec"] = {}
    elif kind == "SelfSubjectReview":
        review["status"] = {"userInfo": USER}
    elif kind == "SelfSubjectRulesReview":
        rules = {"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}], "nonResourceRules": [{"verbs": ["*"]}]}
        review["status"] = {**rules, "incomplete": False}
    else:
        review["status"] = {"allowed": True, "reason": reason}
    return review
