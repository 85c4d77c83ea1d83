"""Reading shell syntax as bash does, without running it. Knows nothing of the rest of the agent."""
