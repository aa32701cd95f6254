"""`python -m edge` is `roomtone`."""

import sys

from edge.cli import main

sys.exit(main())
