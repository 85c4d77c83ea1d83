"""vars.yaml and the values of its variables: what is declared, what is looked up, what wins and why."""
