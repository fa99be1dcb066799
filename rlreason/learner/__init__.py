"""The learner: the policy, its optimizer, and the update."""
