"""What a model knows of the characters in its tokens."""
