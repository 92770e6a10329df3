"""``python -m net2net``: the same as ``net2net``."""

from net2net.cli import main

if __name__ == "__main__":
    main()
