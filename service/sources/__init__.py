"""Remote -> artifact: the Git stores, the tree that builds read, the tarball for other consumers, one reconciler per source kind."""
