"""Optimizers: one file each, found by name."""
