"""What measures: processes of their own, and what they are told to do."""
