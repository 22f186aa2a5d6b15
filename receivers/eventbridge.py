"""AWS, through EventBridge: images of ECR, pushes to CodeCommit, objects of S3.

Set up: an EventBridge rule for `aws.ecr` ("ECR Image Action"), `aws.codecommit` ("CodeCommit Repository State Change") or `aws.s3` ("Object
Created", "Object Deleted"; turn EventBridge on in the bucket's properties) with an API destination as its target, the Receiver's address as
its endpoint, and a connection of the type API key: the name `Authorization`, the value `Bearer <token>`.
Proof: `Authorization` or `X-Api-Key` holds the token.
Tells: image, tag and digest; repository, ref and commits; bucket and key.
https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
"""

from collections.abc import Mapping

from receivers.contract import BadSignature, BucketChange, Credentials, Delivery, Event, GitPush, ImagePush, Sender, Unchanged, Verifier
from receivers.images import named
from receivers.payload import Json, parse, text, text_or
from receivers.signature import authorization


def verifier(headers: Mapping[str, str], credentials: Credentials) -> Verifier:
    """Return the check of `Authorization`, else of `X-Api-Key`. Raises BadSignature."""
    given = headers.get("authorization") or headers.get("x-api-key")
    if not given:
        raise BadSignature("Authorization is missing: set it with the Receiver's token as the API key of the connection")
    return authorization(given, credentials)


def read(delivery: Delivery) -> tuple[Event, ...]:
    """Return what an event of ECR, CodeCommit or S3 says, () for others. Raises BadPayload."""
    return events_of(parse(delivery.body))


def events_of(payload: Mapping[str, Json]) -> tuple[Event, ...]:
    """Return what an event says, wherever it came from; notification rules write `detailType`. Raises BadPayload."""
    match text(payload, "source"), text_or(payload, "detail-type") or text_or(payload, "detailType"):
        case "aws.ecr", "ECR Image Action":
            return (_image(payload),)
        case "aws.codecommit", "CodeCommit Repository State Change":
            return _repository(payload)
        case "aws.s3", "Object Created" | "Object Deleted" as kind:
            bucket, key = text(payload, "detail", "bucket", "name"), text_or(payload, "detail", "object", "key")
            return (BucketChange(bucket=bucket, key=key, deleted=kind == "Object Deleted"),)
        case _:
            return ()


def repository_urls(region: str, repository: str) -> tuple[str, ...]:
    """Return the addresses of a repository of CodeCommit."""
    host = f"git-codecommit.{region}.{_domain(region)}"
    return (f"https://{host}/v1/repos/{repository}", f"ssh://{host}/v1/repos/{repository}")


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _image(payload: Json) -> Event:
    if text_or(payload, "detail", "result").upper() != "SUCCESS":
        return Unchanged(what="failed image action")
    region = text(payload, "region")
    host = f"{text(payload, 'account')}.dkr.ecr.{region}.{_domain(region)}"
    return ImagePush(
        names=(named(host, text(payload, "detail", "repository-name")),),
        tag=text_or(payload, "detail", "image-tag"),
        digest=text_or(payload, "detail", "image-digest"),
        deleted=text_or(payload, "detail", "action-type").upper() == "DELETE",
    )


def _repository(payload: Json) -> tuple[Event, ...]:
    event = text(payload, "detail", "event")
    if event not in ("referenceCreated", "referenceUpdated", "referenceDeleted"):
        return ()
    deleted = event == "referenceDeleted"
    return (
        GitPush(
            urls=repository_urls(text(payload, "region"), text(payload, "detail", "repositoryName")),
            ref=text(payload, "detail", "referenceFullName"),
            before=text_or(payload, "detail", "oldCommitId"),
            after="" if deleted else text(payload, "detail", "commitId"),
            deleted=deleted,
        ),
    )


EVENTBRIDGE = Sender(type="eventbridge", verifier=verifier, read=read)
