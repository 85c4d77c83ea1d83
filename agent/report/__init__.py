"""What people and machines are told: log, terminal, status file."""
