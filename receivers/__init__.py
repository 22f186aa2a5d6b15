"""Webhook -> event, pure. Each sender is one module; the table of them is filled in by the receivers' owner."""
