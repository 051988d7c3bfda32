"""`python -m canvas.cli`."""

import sys

from canvas.cli import main

sys.exit(main())
