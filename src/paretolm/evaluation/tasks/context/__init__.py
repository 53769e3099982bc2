"""What stands far back in a long text."""
