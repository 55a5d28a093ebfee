"""The paper's experiments, on any data set in TAU layout."""
