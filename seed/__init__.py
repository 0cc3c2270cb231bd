"""The plans as data: YAML files, their format, the loader and the audit against the printed document."""
