"""The quantisers of this package: each module holds one, as `QUANTISER`, and bears its name."""
