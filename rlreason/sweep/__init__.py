"""Ablation sweeps: plan (values x seeds), run (resumable), statistics (paired)."""
