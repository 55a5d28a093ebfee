"""The same model in other runtimes ("peers"), measured beside edge-asc's artefacts."""
