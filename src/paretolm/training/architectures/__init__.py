"""Architectures: one file each, found by name."""
