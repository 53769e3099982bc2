"""How are the next tokens chosen? Loops that draft, verify, fork or search."""
