"""Apps to read, run and copy: `make serve APP=examples.echo:app`."""
