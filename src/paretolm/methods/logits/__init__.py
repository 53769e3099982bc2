"""What becomes of the logits? Changes in generation and in scoring alike."""
