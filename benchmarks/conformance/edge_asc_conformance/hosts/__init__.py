"""One module a host, each with its descriptor HOST."""
