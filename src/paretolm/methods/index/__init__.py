"""At which position does a query see a key? Positions in the cache, caps, chunks."""
