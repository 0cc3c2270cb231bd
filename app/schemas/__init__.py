"""The shapes of requests and answers, by noun: bounds, descriptions and examples live here."""
