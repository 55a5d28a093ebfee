"""One module for each engine; each holds its descriptor, `ENGINE`, and the runtime that it opens."""
