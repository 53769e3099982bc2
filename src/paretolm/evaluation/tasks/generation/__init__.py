"""What a recipe writes, graded."""
