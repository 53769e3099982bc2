"""From stored rows to what a comparison says."""
