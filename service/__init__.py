"""The server: webhooks in, objects reconciled, alerts out."""
