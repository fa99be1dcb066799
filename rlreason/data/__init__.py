"""Where problems come from: sources, checks, pools with seeded draws, and the prompt encoder."""
