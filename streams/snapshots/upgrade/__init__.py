"""Upgrading a store of an earlier version to the current one."""
