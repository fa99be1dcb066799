"""The memory plan: what each GPU will hold, told before anything heavy starts."""
