"""`python -m voxofs`."""

import sys

from voxofs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
