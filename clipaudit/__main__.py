"""`python -m clipaudit` is `clipaudit`."""

from clipaudit.cli.app import main

if __name__ == "__main__":
    main()
