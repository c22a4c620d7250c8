"""``python -m stremn``."""

import sys

from stremn.commands import main

if __name__ == "__main__":
    sys.exit(main())
