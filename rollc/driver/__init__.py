"""The driver: the list of passes, builds, artefacts and their store, and printed stages."""
