"""How does a position turn into angles? Scalings of rotary frequencies."""
