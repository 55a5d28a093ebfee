"""The same artefacts in other languages and runtimes ("hosts"), compared with Python on golden vectors."""
