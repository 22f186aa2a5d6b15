"""Object -> outcome: the keyed queue, the worker that runs reconcilers, the errors by consequence, the conditions."""
