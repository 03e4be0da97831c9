"""``python -m rollc`` is the ``rollc`` command."""

import sys

from rollc.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
