"""What the agent does to its own host: files, children, lock, clock, Docker engine."""
