"""The same model in other runtimes, side by side with edge-asc's artefacts."""
