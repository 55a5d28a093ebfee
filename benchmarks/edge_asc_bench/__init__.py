"""Benchmarks on any target, the gate against baselines, and a page about results."""
