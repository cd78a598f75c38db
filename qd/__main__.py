"""`python -m qd` is the command `qd`."""

from qd.cli.main import main

if __name__ == "__main__":
    main()
