"""Which held entries does a query read, by their content? The rest stay held."""
