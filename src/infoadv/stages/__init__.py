"""The stages of the pipeline, files in and files out: each reads artefacts, calls the library, and writes an artefact."""
