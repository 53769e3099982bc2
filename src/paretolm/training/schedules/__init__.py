"""Learning-rate schedules: one file each, found by name."""
