"""The peers of this package: each module holds one, as `PEER`, and bears its name."""
