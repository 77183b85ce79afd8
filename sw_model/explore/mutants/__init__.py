"""One file per mutant; each defines MUTANT."""
