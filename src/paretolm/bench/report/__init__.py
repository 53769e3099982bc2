"""What people read: the table in the terminal, and one HTML file that needs nothing else."""
