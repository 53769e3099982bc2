"""Several methods as one value: the index of methods, the grammar, the plan, the session."""
