"""The rollout engine: samples completions from the newest policy."""
