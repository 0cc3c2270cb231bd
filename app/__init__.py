"""The liuzhang service."""
