"""Reinforcement-learning post-training for reasoning: vLLM samples, DeepSpeed learns."""

__version__ = "0.1.0"
