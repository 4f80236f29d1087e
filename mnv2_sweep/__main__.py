"""`python -m mnv2_sweep`: the same as the command `mnv2-sweep`."""

from mnv2_sweep.cli.main import main

if __name__ == "__main__":
    main()
