"""What fills the terminal, one at a time, and the dialogs above it."""
