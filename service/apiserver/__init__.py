"""The embedded default: a small, honest part of the Kubernetes API on aiohttp and SQLite. Imports no other room."""
