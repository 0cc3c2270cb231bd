"""Commands that talk to a service over HTTP, here or elsewhere; docs/cli.md tells their use and exit codes."""
