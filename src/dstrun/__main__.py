"""`python -m dstrun` is `dstrun`."""

from dstrun.cli.main import main

main()
