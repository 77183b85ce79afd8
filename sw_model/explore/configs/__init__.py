"""One file per configuration; each defines CONFIG."""
