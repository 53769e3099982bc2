"""What is the model given to read? Prompts shortened or rewritten before generation."""
