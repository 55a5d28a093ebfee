"""C artefacts: a classifier as C99 source, without a runtime."""
