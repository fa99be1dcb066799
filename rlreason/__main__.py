"""``python -m rlreason`` is the ``rlreason`` command."""

from rlreason.cli import main

main()
