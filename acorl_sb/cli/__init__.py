"""The commands: ``main`` finds the others, which are one file each."""
