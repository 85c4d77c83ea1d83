"""One module per step of a run, one verb and one frozen result each; steps never call each other."""
