"""``python -m agent.owner`` is ``privacy-owner``."""

import sys

from agent.owner.shell import main

sys.exit(main())
