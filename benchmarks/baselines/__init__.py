"""Published, practised scoring methods that a submission is compared with."""
