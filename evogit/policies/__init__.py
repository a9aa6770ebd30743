"""Policies: which emitter is asked next, as probabilities. One file each; they know memory, and no emitter but by its name."""
