"""The run folder: files, manifest, lock; where things lie on this machine."""
