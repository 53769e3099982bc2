"""Data orders: which sequence of tokens comes when; one file each, found by name."""
