"""Artifact -> cluster: the Kustomization kind. Decides what a push concerns, builds it, applies what changed, prunes, waits, reports."""
