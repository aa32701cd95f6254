"""`python -m edge` is `roomtone`."""

import sys

from edge.commands.cli import main

sys.exit(main())
