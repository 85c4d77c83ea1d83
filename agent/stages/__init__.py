"""The steps as one run takes them: each opens its step in the record and calls its verb in `steps/` or `variables/`."""
