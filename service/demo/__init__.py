"""`sluice demo`: a fleet repository, a Git server, a stand-in for Slack and the service on this machine; one push, with its timeline."""
