"""``python -m net2net_lab``: the same as ``net2net-lab``."""

from net2net_lab.cli import main

if __name__ == "__main__":
    main()
