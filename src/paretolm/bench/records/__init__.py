"""What is kept: the store, and the keys that say when two measurements are the same."""
