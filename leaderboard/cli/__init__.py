"""The command ``stemtwin``."""
