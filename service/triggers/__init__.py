"""Webhook -> objects: which Receiver a path belongs to, what a delivery concerns, and when it is done."""
