"""From stored events to messages that arrived: which Alerts an event goes to, and sending until the provider has it."""
