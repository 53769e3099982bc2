"""Which layers run for which token? Skipped, shared and gated layers."""
