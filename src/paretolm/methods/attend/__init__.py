"""Which keys does a query read, and how is the result computed?"""
