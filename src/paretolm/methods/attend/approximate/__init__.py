"""How is attention computed from what is read? Approximations of its result."""
