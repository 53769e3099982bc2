"""In what form, and how many, are the weights? Quantization, pruning, factorization."""
