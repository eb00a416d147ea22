"""`python -m hier` is the command `hier`."""

from hier.cli import main

if __name__ == "__main__":
    main()
