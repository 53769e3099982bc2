"""The only code that touches the insides of transformers; every reliance has a test in tests/pins."""
