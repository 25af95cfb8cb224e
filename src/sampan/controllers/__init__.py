"""The built-in controllers: what should be, from what is declared."""
