"""The vocabulary: one noun a module, frozen msgspec structs, no I/O. Import the module that holds the noun."""
