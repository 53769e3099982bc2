"""A model under a recipe in use: text as it comes, conversations."""
