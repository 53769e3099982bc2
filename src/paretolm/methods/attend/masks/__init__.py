"""Which keys may a query read, by position alone? Static patterns."""
