"""compare and tune: the plan of runs, the store, the report."""
