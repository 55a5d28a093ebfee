"""What exports, evaluations and benchmarks found, on one page."""
