"""One-shot critique fine-tuning: from a problem to candidates, critiques and training data."""
