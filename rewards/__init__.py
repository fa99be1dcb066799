"""Rewards: one per module. README.md says how to write one."""
