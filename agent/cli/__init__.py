"""One file per command; the only place that reads os.environ, prints data and exits."""
