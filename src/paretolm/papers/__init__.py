"""What the papers claim, and what is measured beside it."""
