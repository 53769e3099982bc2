"""Given text, token by token."""
