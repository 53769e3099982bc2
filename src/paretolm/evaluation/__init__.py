"""The judge: tasks, metrics, memory, speed and the statistics that say what a difference is worth."""
