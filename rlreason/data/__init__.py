"""Problems: sources, validation, seeded pools and prompts."""
