"""Search for the best recipe within limits."""
