"""Layouts of data sets: one module each, which holds a `Layout` descriptor under the name LAYOUT."""
