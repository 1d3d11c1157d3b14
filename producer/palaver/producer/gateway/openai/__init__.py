"""OpenAI's HTTP API, as its official clients speak it."""
