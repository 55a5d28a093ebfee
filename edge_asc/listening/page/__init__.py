"""The page of a listener: files for a browser."""
