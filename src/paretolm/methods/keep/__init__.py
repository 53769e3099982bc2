"""Which entries of the cache stay? Eviction, merging, added entries."""
