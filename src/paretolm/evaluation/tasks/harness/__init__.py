"""Tasks as lm-evaluation-harness writes them down."""
