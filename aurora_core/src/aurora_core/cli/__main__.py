"""``python -m aurora_core.cli``."""

from aurora_core.cli import main

main()
