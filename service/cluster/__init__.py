"""Manifests in, cluster state out: client, discovery, watches, server-side apply, inventory and prune, health, leases, events.

Everything speaks plain JSON over kubernetes_asyncio's connection pool; nothing here knows Flux's kinds beyond their annotations.
"""
