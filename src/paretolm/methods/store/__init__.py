"""In what form do kept entries stay? Quantized, reduced or coded keys and values."""
