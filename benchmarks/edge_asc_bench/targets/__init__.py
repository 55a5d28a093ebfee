"""One module for each kind of target; each holds its descriptor, `TARGET`."""
