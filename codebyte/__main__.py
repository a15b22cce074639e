"""`python -m codebyte` is the `codebyte` command; nothing imports this module."""

from codebyte.apps.cli import main

if __name__ == "__main__":
    main()
