"""python -m paretolm, for launchers such as torchrun."""

from .cli import main

main()
