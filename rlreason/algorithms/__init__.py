"""Pure functions of tensors: no model, no distributed call, no state."""
