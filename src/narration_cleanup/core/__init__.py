"""Values and helpers that every layer uses; imports nothing else of the package."""
