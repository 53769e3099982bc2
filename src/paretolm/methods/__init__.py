"""Techniques for a trained model: one paper one file, on the shelf of its first slot."""
