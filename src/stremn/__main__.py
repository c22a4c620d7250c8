"""``python -m stremn``."""

from stremn.commands import main

if __name__ == "__main__":
    main()
