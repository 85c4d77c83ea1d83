"""What `check` looks at in a bundle, offline: manifest, compose file, the bundle's files, and the bootstrap file."""
