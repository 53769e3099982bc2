"""Where do drafts come from? Sources of guesses that the model verifies."""
