"""The use cases, by noun, with their SQL."""
