"""What `delphi-agent` costs, beside what it replaces: measured in the lab, paired, and printed with its spread.

`python -m tests.bench` is the whole suite, `python -m tests.bench.growth` the cost against the size of a deployment.
"""
