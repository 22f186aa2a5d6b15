"""The kustomize engine: a read-only tree in, Kubernetes objects out. Pure, deterministic, imports no other room."""
