"""`python -m device_sim` is `device-sim`."""

import sys

from device_sim.cli import main

sys.exit(main())
