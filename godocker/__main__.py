"""Entry point of `python -m godocker`."""

from godocker import cli

cli.main()
