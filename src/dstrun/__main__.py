"""Entry point of `python -m dstrun`."""

from dstrun.cli.main import main

main()
