"""`python -m agent`: the same program as the `delphi-agent` console script."""

import sys

from agent.cli.main import main

sys.exit(main())
