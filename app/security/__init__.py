"""How a caller proves who they are, without a database: API keys, bearer tokens of one issuer, network addresses."""
