"""`python -m radar` is the command line."""

from radar.cli.main import main

if __name__ == "__main__":
    main()
