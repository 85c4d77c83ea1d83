"""`python -m agent`: the same program as the `delphi-agent` console script."""

from agent.cli.main import leave, main

leave(main())
