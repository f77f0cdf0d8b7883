"""One module a schema version; files are never changed after a release."""
