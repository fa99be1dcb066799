"""Where learner and engines live."""
