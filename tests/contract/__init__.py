"""The laws, run on every method found."""
