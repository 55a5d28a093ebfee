"""The export formats of this package: one module each, whose `FORMAT` describes it."""
