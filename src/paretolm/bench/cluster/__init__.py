"""Cells on several machines: workers on the nodes of a Ray cluster, results on the machine of the call."""
