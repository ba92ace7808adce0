"""`python -m tvmap` is the command `tvmap`."""

import sys

from .commands import main

sys.exit(main())
