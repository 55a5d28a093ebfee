"""A page that runs an artefact: files for a browser."""
