"""The version of rollc."""

VERSION = "0.1.0"
