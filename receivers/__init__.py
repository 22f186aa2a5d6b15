"""Webhook -> event. Pure: no I/O, no clock, no logging. RECEIVERS is the one table of the senders that are understood."""

from collections.abc import Mapping

from receivers.contract import Sender
from receivers.github import GITHUB

RECEIVERS: Mapping[str, Sender] = {sender.type: sender for sender in (GITHUB,)}
