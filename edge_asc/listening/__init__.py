"""Listening to streams without an end: sources, events, and where they go."""
