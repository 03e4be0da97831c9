"""From a spec to a built network: the list of passes, builds, artefacts, stages."""
