"""Model cards: what a model is and what it was measured to do, written by a command and checked against its weights."""
