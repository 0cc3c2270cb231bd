"""The version of the project, as its package metadata has it."""

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("liuzhang")
