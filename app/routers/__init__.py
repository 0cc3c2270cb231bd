"""The HTTP of the API, by noun: parse, call one use case, answer."""
