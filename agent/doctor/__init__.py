"""`doctor`: every precondition of a run, looked at side by side; changes nothing, takes no lock, shows no value."""
