"""`python -m dstrun` is `dstrun`."""

from dstrun.cli import main

main()
