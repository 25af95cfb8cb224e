"""The scheduler's own plugins, one file each; ``registry.py`` names them all."""
