"""``python -m agent.cli`` is ``privacy-agent``."""

import sys

from agent.cli import main

sys.exit(main())
