"""`python -m myopia`: the one command line of the workflow's rules and of people."""

from myopia.cli import main

if __name__ == "__main__":
    main()
