"""awssns: a text message on a topic of Amazon SNS. Not one of Flux's types.

Credentials: make an IAM user that may `sns:Publish` to the topic, make an access key for it, and put it into the Secret's keys
`accessKeyID` and `secretAccessKey` (and `sessionToken`, if it has one); or set `spec.serviceAccountName` to an account with a role's ARN.
`spec.channel` is the topic's ARN; the address stays empty, or is another endpoint. Sent is a subject, the message with its metadata as
text, and attributes to filter by. The format: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from providers.answers import check, needs
from providers.aws_signature import Keys, authorization
from providers.card import facts, heading, is_error, line, object_name, plain
from providers.contract import Dialogue, Event, Exchange, Identity, Lent, Misconfigured, Request, Secret, Target
from providers.flux_event import flux_bytes
from providers.identity import aws_keys
from providers.reason import words

ARN = re.compile(r"arn:(aws[a-z-]*):sns:([a-z0-9-]{1,30}):[0-9]{12}:([\w-]{1,256}(?:\.fifo)?)", re.ASCII)
TEXT = 20_000
TO_DO = {400: "check spec.channel (the topic's ARN)", 403: "put valid keys into the Secret, with sns:Publish"}


def converse(event: Event, target: Target) -> Dialogue:
    """Publish the message. Raises Misconfigured, Rejected, Busy."""
    found = _arn(target)
    partition, region, topic = found.groups()
    held = target.keys
    identity, secret = (
        needs(held.get(name, ""), f"no access key: put {name} into the Secret") for name in ("accessKeyID", "secretAccessKey")
    )
    url = target.address.reveal() or f"https://sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}/"
    body = urlencode(_form(event, found[0], fifo=topic.endswith(".fifo")), errors="replace").encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date": f"{target.now:%Y%m%dT%H%M%SZ}"}
    if "sessionToken" in held:
        headers["X-Amz-Security-Token"] = held["sessionToken"].reveal()
    keys = Keys(identity=identity, secret=secret, region=region, service="sns")
    signed = {**headers, "Host": urlsplit(url).netloc}
    headers["Authorization"] = authorization(keys, "POST", url, headers=signed, body=body)
    check("SNS", (yield Request(method="POST", url=Secret(url), headers=headers, body=body)), to_do=TO_DO)


def exchange(identity: Identity, target: Target) -> Exchange[Lent]:
    """Lead to keys of the account's role. Raises Misconfigured, Rejected, Busy."""
    partition, region, _ = _arn(target).groups()
    return (yield from aws_keys(identity, region, china=partition == "aws-cn"))


def _arn(target: Target) -> re.Match[str]:
    found = ARN.fullmatch(needs(target.channel, "no topic: set spec.channel to the topic's ARN"))
    if found is None:
        raise Misconfigured("spec.channel is not the ARN of a topic: set it to arn:aws:sns:<region>:<account>:<topic>")
    return found


def _form(event: Event, topic: str, *, fifo: bool) -> Mapping[str, str]:
    title = heading(event, f"{words(event.reason)}: {object_name(event)}")
    subject = "".join(each if " " <= each <= "~" else "?" for each in line(title, 99)).lstrip() or "event"
    lines = [title, plain(event.message, TEXT), "", *(f"{name}: {value}" for name, value in facts(event))]
    form = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": topic, "Subject": subject, "Message": "\n".join(lines)}
    attributes = {"severity": event.severity, "kind": event.kind, "namespace": event.namespace, "name": event.name, "reason": event.reason}
    for number, (name, value) in enumerate((pair for pair in attributes.items() if line(pair[1], 250)), 1):
        entry = f"MessageAttributes.entry.{number}"
        form |= {f"{entry}.Name": name, f"{entry}.Value.DataType": "String", f"{entry}.Value.StringValue": line(value, 250)}
    if fifo:
        group = hashlib.sha256(f"{event.kind}/{event.namespace}/{event.name}".encode(errors="replace")).hexdigest()
        form |= {"MessageGroupId": group, "MessageDeduplicationId": hashlib.sha256(flux_bytes(event)).hexdigest()}
    form["Subject"] = f"{'FAILED ' if is_error(event) else ''}{subject}"[:99]
    return form
