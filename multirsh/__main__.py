"""``python -m multirsh``."""

from multirsh.cli.main import main

if __name__ == "__main__":
    main()
