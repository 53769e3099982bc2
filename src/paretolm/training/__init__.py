"""Training small language models from text: parts with names, runs that continue where they were killed."""
